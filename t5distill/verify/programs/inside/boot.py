"""The script of the supervisor process: started by exec, reads its settings from its first pipe."""

import os
import pathlib
import sys
import traceback
import types

_HERE = "t5distill.verify.programs.inside.boot"


def hollow_packages(root: str, module: str) -> None:
    """Make the packages above a module importable without running their `__init__`.

    `t5distill.verify` imports the judge and more, which have no business here and would make
    every fork slower.
    """
    parts = module.split(".")[:-1]
    for i in range(1, len(parts) + 1):
        name = ".".join(parts[:i])
        if name not in sys.modules:
            package = types.ModuleType(name)
            package.__path__ = [os.path.join(root, *parts[:i])]
            sys.modules[name] = package


def main() -> None:
    """Move the pipes out of the way of a program's own descriptors, then become the supervisor."""
    root = str(pathlib.Path(__file__).resolve().parents[_HERE.count(".")])
    hollow_packages(root, _HERE)
    from t5distill.verify.programs.inside import messages
    from t5distill.verify.programs.kinds import KINDS

    settings = messages.read_message(0)
    if settings is None:
        return
    commands, replies = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1):
        os.dup2(null, fd)
    os.close(null)
    try:
        for module in ("t5distill.formats.wrapping", *(kind.module for kind in KINDS.values())):
            hollow_packages(root, module)
        from t5distill.verify.programs.inside import supervising

        supervising.supervise(settings, commands, replies)
    except BaseException:
        messages.write_message(replies, {"failed": traceback.format_exc()[-2000:]})


if __name__ == "__main__":
    main()
