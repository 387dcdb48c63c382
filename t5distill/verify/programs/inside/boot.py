"""The script of the supervisor process: started by exec, reads its settings from its first pipe.

What it and the modules beside it import stays in every fork, and a fork costs what the process
weighs: a megabyte 45 us, a library of C 12 us, here, of some 3 ms. So they import no `typing`, no
`contextlib`, no `json`.
"""

import marshal
import os
import sys

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
            package = type(sys)(name)
            package.__path__ = [os.path.join(root, *parts[:i])]
            sys.modules[name] = package


def main() -> None:
    """Move the pipes out of the way of a program's own descriptors, then become the supervisor."""
    root = os.path.realpath(__file__)
    for _ in _HERE.split("."):
        root = os.path.dirname(root)
    hollow_packages(root, _HERE)
    from t5distill.verify.programs.inside import messages

    sent = messages.read_message(0)
    if sent is None:
        return
    settings = marshal.loads(sent)
    commands, replies = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1):
        os.dup2(null, fd)
    os.close(null)
    try:
        for module, _ in ("t5distill.formats.wrapping", ""), *settings["jobs"].values():
            hollow_packages(root, module)
        from t5distill.verify.programs.inside import supervising

        supervising.supervise(settings, commands, replies)
    except BaseException:
        import traceback

        failed = {"failed": traceback.format_exc()[-2000:]}
        messages.write_message(replies, marshal.dumps(failed))


if __name__ == "__main__":
    main()
