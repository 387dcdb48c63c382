"""Programs of thought: untrusted Python, run behind the kernel's walls."""

from t5distill.verify.programs.limits import Limits
from t5distill.verify.programs.running import run_program, run_programs
from t5distill.verify.programs.sandbox import Sandbox

__all__ = ["Limits", "Sandbox", "run_program", "run_programs"]
