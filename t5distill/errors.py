"""The one exception that means "the user can mend this"."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake of the user: bad input, a missing file, a misspelt name.

    The message says what was found, what was wanted and what to do, with file and line where there
    is one. Commands print it without a traceback and exit with code 2.
    """


def suggest(name: str, known: Iterable[str]) -> str:
    """Return "did you mean X?", or the list of `known` where nothing in it is near `name`."""
    known = sorted(known)
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
