"""The one exception that means "the user can mend this"."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake of the user: bad input, a missing file, a misspelt name.

    The message says what was found, what was wanted and what to do, with file and line where there
    is one. Commands print it without a traceback and exit with code 2.
    """


def suggest(name: str, known: Iterable[str]) -> str:
    """Return "did you mean X? known: ..." for a name that is none of `known`."""
    known = sorted(known)
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    lead = f"did you mean {near[0]}? " if near else ""
    return f"{lead}known: {', '.join(known)}"
