"""Tokens of equations, and the plain characters they are read from.

Numbers are read by the rules of `verify.tokens`; names are not, because in an equation every name
is an unknown and its case counts.
"""

from __future__ import annotations

import re

from t5distill.verify import plain
from t5distill.verify.arithmetic import with_mixed_numbers
from t5distill.verify.tokens import Token, to_number

# Words that stand for an operator or a sign.
_WORDS = {
    **{"times": ("op", "*"), "of": ("op", "of"), "plus": ("op", "+"), "minus": ("op", "-")},
    **{"percent": ("percent", "%"), "sqrt": ("root", "sqrt")},
    **{w: ("separator", w) for w in ("and", "where", "so", "then", "thus", "hence", "therefore")},
}
# Signs after which an operand is complete, and before which one begins.
ENDS = ("number", "name", "close", "percent")
STARTS = ("number", "name", "open", "root")

_LEX = re.compile(
    r"""
      (?P<number>[1-9][0-9]{0,2}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|\.[0-9]+)
    | (?P<divided>divided[ ]by(?![A-Za-z0-9_]))
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<separator>=>|->|[→⇒⟹⇔⟺,;]|\.(?=\s|$))
    | (?P<equals>==?(?![=>]))
    | (?P<power>\*\*|\^)
    | (?P<op>[-+*/–])
    | (?P<open>[(\[{])
    | (?P<close>[)\]}])
    | (?P<percent>%)
    | (?P<colon>:(?!=))
    | (?P<currency>[$€£¥₹])
    | (?P<hash>\#(?=[0-9]))
    | (?P<bad>\S)
    """,
    re.VERBOSE,
)
_EXPONENT = re.compile(r"[eE][0-9]{1,4}(?![A-Za-z0-9_.])")
_SIGNED_EXPONENT = re.compile(r"[eE][+-–][0-9]")
_APOSTROPHE = re.compile(r"'[a-z]+")

_HEADING = re.compile(
    r"System of (?:linear )?equations[ ]?:?[ ]{0,3}(?:\(Do not simplify\))?[ ]?:?", re.IGNORECASE
)
_BOLD = re.compile(r"(?<![\w)\]}] )(?<![\w)\]}])\*\*(?=\S)([^\n]{1,200}?)(?<=\S)\*\*(?![\w(])")
_ENVIRONMENT = re.compile(r"\\(?:begin|end) ?\{[A-Za-z]{1,20}\*?\}(?:\{[lcr|]{0,9}\})?")
_ARROW = re.compile(r"\\(?:Long)?(?:[Rr]ightarrow|implies|iff)(?![A-Za-z])")
_INDEX = re.compile(r"_\{([A-Za-z0-9_]{1,40})\}")


def lines(text: str) -> list[str]:
    """Return the lines of a text with characters unified, and LaTeX and markdown taken off."""
    text = text.replace("\r\n", "\n").translate(plain.SAME_LENGTH).translate(plain.INVISIBLE)
    text = _HEADING.sub("\n", plain.own_part(text))
    text = _BOLD.sub(r"\1", text).replace("`", "").replace("√", " sqrt ")
    if "\\" in text:
        # In LaTeX a double backslash ends a line and an ampersand aligns two.
        text = _ENVIRONMENT.sub("\n", text.replace("\\\\", "\n")).replace("&", "")
        text = _ARROW.sub("⇒", text)
    text = plain.arithmetic(_INDEX.sub(r"_\1", text))
    return [line.strip() for line in text.split("\n")]


def tokenize(line: str) -> list[Token]:
    """Return the tokens of one line; what nobody can read has kind `bad`.

    Kinds are number, name, word (with an apostrophe, so no name), root, equals, op, open, close,
    percent, colon, separator, hash and bad. Currency signs are left out: they change no value.
    """
    tokens: list[Token] = []
    position = 0
    while found := _LEX.search(line, position):
        token = _token(line, found)
        position = token.end
        if found.lastgroup != "currency":
            tokens.append(token)
    return with_mixed_numbers(tokens)


def _token(line: str, found: re.Match[str]) -> Token:
    kind, text, start, end = found.lastgroup or "bad", found[0], found.start(), found.end()
    if kind == "number":
        return _number(line, start, end)
    if kind == "name":
        if rest := _APOSTROPHE.match(line, end):
            return Token("word", line[start : rest.end()], start, rest.end())
        kind, text = _WORDS.get(text, ("name", text))
    elif kind == "divided":
        kind, text = "op", "/"
    elif kind == "power":
        kind, text = "op", "^"
    elif text == "–":
        text = "-"
    return Token(kind, text, start, end)


def _number(line: str, start: int, end: int) -> Token:
    """Read a number with its exponent; `1,50`, `1.2.3` and `2e-3` may mean two things."""
    if exponent := _EXPONENT.match(line, end):
        end = exponent.end()
    value = to_number(line[start:end])
    tight = line[end : end + 2]
    doubtful = tight[:1] in (".", ",") and tight[1:].isdigit()
    if value is None or doubtful or _SIGNED_EXPONENT.match(line, end):
        return Token("bad", line[start : end + 2], start, end)
    return Token("number", line[start:end], start, end, value, "." in line[start:end])
