"""Systems of equations, solved exactly. TODO"""

from t5distill.verify.equations.solving import solve_equations

__all__ = ["solve_equations"]
