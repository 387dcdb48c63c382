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
      (?P<number>[1-9][0-9]{0,2}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?
        |[1-9][0-9]{0,2}(?:_[0-9]{3})+(?![0-9A-Za-z_])(?:\.[0-9]+)?
        |[0-9]+(?:\.[0-9]+)?|\.[0-9]+)
    | (?P<divided>divided[ ]by(?![A-Za-z0-9_]))
    | (?P<percent>%|per[ ]cent(?![A-Za-z0-9_]))
    | (?P<currency>(?:US)?[$€£¥₹]|(?:USD|EUR|GBP|INR)[ ](?=[.0-9])|Rs\.?[ ]?(?=[0-9]))
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*|[αβγδεζηθλμξπρστφψωΓΔΘΛΞΦΨΩ](?:_[A-Za-z0-9]+|[0-9]+)?)
    | (?P<separator>=>|->|[→⇒⟹⇔⟺,;]|\.(?=\s|$))
    | (?P<equals>==?(?![=>]))
    | (?P<power>\*\*|\^)
    | (?P<op>[-+*/–])
    | (?P<open>[(\[{])
    | (?P<close>[)\]}])
    | (?P<colon>:(?!=))
    | (?P<hash>\#(?=[0-9]))
    | (?P<bad>\S)
    """,
    re.VERBOSE,
)
_EXPONENT = re.compile(r"[eE][0-9]{1,4}(?![A-Za-z0-9_.])")
_SIGNED_EXPONENT = re.compile(r"[eE][+-–][0-9]")
# 5/6/2020 and 2020-05-06, but not 2020-100-20.
_DATE = re.compile(
    r"(?<![0-9/])(?:(?:[12]?[0-9]|0[0-9]|3[01])/(?:[12]?[0-9]|0[0-9]|3[01])/(?:19|20)[0-9]{2}"
    r"|(?:19|20)[0-9]{2}-(?:0[0-9]-[0-9]{2}|1[0-2]-0[0-9]))(?![0-9/])"
)
_CURRENCIES = {"USD": "$", "US$": "$", "EUR": "€", "GBP": "£", "INR": "₹", "Rs.": "₹", "Rs": "₹"}
_APOSTROPHE = re.compile(r"'[a-z]+")

_HEADING = re.compile(
    r"System of (?:linear )?equations[ ]?:?[ ]{0,3}(?:\(Do not simplify\))?[ ]?:?", re.IGNORECASE
)
_BOLD = re.compile(r"(?<![\w)\]}] )(?<![\w)\]}])\*\*(?=\S)([^\n]{1,200}?)(?<=\S)\*\*(?![\w(])")
_ENVIRONMENT = re.compile(r"\\(?:begin|end) ?\{[A-Za-z]{1,20}\*?\}(?:\{[lcr|]{0,9}\})?")
_ARROW = re.compile(r"\\(?:Long)?(?:[Rr]ightarrow|implies|iff)(?![A-Za-z])")
# The number of an equation, behind a dotted line or as LaTeX has it.
_DOTTED = re.compile(
    r"(?:(?<!\.)\.{2,80}|(?<!…)…{1,9}|\\[cl]?dots) ?\([0-9A-Za-z*]{1,4}\) *$", re.MULTILINE
)
# A line in LaTeX's dollars, which are no currency.
_MATH = re.compile(r"^ *\$\$?(?![ .0-9$])([^$\n]*)\$\$? *$", re.MULTILINE)
_LATEX_TAG = re.compile(r"\\tag\*? ?\{[^{}\n]{1,20}\}")
_INDEX = re.compile(r"_\{([A-Za-z0-9_]{1,40})\}")


def lines(text: str) -> list[str]:
    """Return the lines of a text with characters unified, and LaTeX and markdown taken off."""
    text = text.replace("\r\n", "\n").translate(plain.SAME_LENGTH).translate(plain.INVISIBLE)
    text = _HEADING.sub("\n", plain.own_part(text))
    text = _BOLD.sub(r"\1", text).replace("`", "").replace("√", " sqrt ").replace("¢", " cents")
    text = _MATH.sub(r"\1", _DOTTED.sub("", text))
    if "\\" in text:
        # In LaTeX a double backslash ends a line and an ampersand aligns two.
        text = _ENVIRONMENT.sub("\n", text.replace("\\\\", "\n")).replace("&", "")
        text = _LATEX_TAG.sub("", _ARROW.sub("⇒", text))
    text = plain.arithmetic(_INDEX.sub(r"_\1", text))
    return [line.strip() for line in text.split("\n")]


def tokenize(line: str) -> list[Token]:
    """Return the tokens of one line; what nobody can read has kind `bad`.

    Kinds are number, name, word (with an apostrophe, so no name), root, equals, op, open, close,
    percent, colon, separator, hash and bad. A currency sign is no token, since it changes no value;
    it begins or ends the text of its number.
    """
    tokens: list[Token] = []
    position, sign = 0, ""
    while found := _LEX.search(line, position):
        token = _token(line, found)
        position = token.end
        if found.lastgroup == "currency":
            sign = _CURRENCIES.get(found[0].strip(), found[0])
            if tokens and _is_behind(tokens[-1], line, found):
                tokens[-1] = tokens[-1]._replace(text=tokens[-1].text + sign, end=token.end)
            continue
        if token.kind == "number" and sign:
            token = token._replace(text=sign + token.text)
        sign = ""
        tokens.append(token)
    return with_mixed_numbers(tokens)


def _is_behind(last: Token, line: str, sign: re.Match[str]) -> bool:
    """Tell a currency sign that belongs to the number before it, as in `15 $/hour`."""
    near = last.kind == "number" and last.end in (sign.start(), sign.start() - 1)
    return near and not line[sign.end() : sign.end() + 2].strip()[:1].isdigit()


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
    value = to_number(line[start:end].replace("_", ""))
    tight = line[end : end + 2]
    doubtful = tight[:1] in (".", ",") and tight[1:].isdigit()
    if date := _DATE.match(line, start):
        return Token("bad", date[0], start, end)
    if value is None or doubtful or _SIGNED_EXPONENT.match(line, end):
        return Token("bad", line[start : end + 2], start, end)
    return Token("number", line[start:end], start, end, value, "." in line[start:end])
