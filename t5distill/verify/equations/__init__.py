"""Systems of equations in the form of Zhu et al. 2024, solved exactly and never evaluated.

    x + y = 10
    x - y = 2
    ans = x

The policy, case by case in tests/golden/equations.jsonl and for people in docs/equations.md:

- Every name is an unknown, and case counts. Asked for is `ans`, then `answer` (in the usual cases),
  wherever it stands; without it the lone left side of the last equation; else the only unknown of
  the system; else nothing, which is `none`.
- Equations hold all at once: `x = x + 1` is inconsistent, however a program would mean it.
- The asked value counts where it is the same for all real solutions, free unknowns or not. Two real
  values are `several`: nothing prefers the positive one. Values that are not real do not count.
- What looks like an equation and cannot be read for certain rejects the text. Nothing that may say
  something in numbers is left out.
"""

from t5distill.verify.equations.solving import solve_equations

__all__ = ["solve_equations"]
