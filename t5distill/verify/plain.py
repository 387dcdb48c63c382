"""Plain text out of the many ways to write it: odd characters, emphasis, LaTeX, run-on questions.

Everything here is linear in the length of the text: a looping student writes a megabyte of
anything, and one bad regular expression would then stop the scorer.
"""

from __future__ import annotations

import re

# One character for one character, so that positions in the original text stay true. The en dash
# keeps its own form, because it may be a sign or a range; the em dash is always punctuation.
SAME_LENGTH = str.maketrans(
    {
        **{0xFF01 + i: chr(0x21 + i) for i in range(94)},
        **dict.fromkeys([0xA0, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000, 0x09], " "),
        **dict.fromkeys([0x0B, 0x0C, 0x0D, 0x85, 0x2028, 0x2029], "\n"),
        **dict.fromkeys([0x2010, 0x2011, 0x2012, 0x2212, 0xFE63], "-"),
        **dict.fromkeys([0x2018, 0x2019, 0x2032], "'"),
        **dict.fromkeys([0x201C, 0x201D, 0xAB, 0xBB], '"'),
    }
)
INVISIBLE = dict.fromkeys([0xAD, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF])

# Signs of arithmetic, again one for one. Kept apart, because a string answer may hold a "×".
ARITHMETIC = str.maketrans(
    {
        **dict.fromkeys("×✕✖⋅·∙∗", "*"),
        **dict.fromkeys("÷⁄∕", "/"),
        "≅": "≈",
        "≃": "≈",
    }
)
_VULGAR = {
    **{"½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅖": "2/5"},
    **{"⅗": "3/5", "⅘": "4/5", "⅙": "1/6", "⅚": "5/6", "⅛": "1/8", "⅜": "3/8", "⅝": "5/8"},
    **{"⅞": "7/8", "⅐": "1/7", "⅑": "1/9", "⅒": "1/10"},
}
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")

_POWER = re.compile(r"(?<=[0-9)]) \*\* (?=[0-9(])")
_BOLD = re.compile(r"\*{3}|(?<![0-9)])\*\*|\*\*(?![0-9(])")
_STAR = re.compile(r"(?<![\w)*])(?<![0-9)] )\*(?=[^\s*])([^*\n]{1,200}?)(?<=[^\s*])\*(?![\w(*])")
_UNDERSCORE = re.compile(r"(?<!\w)_{1,3}(?=[^\s_])([^_\n]{1,200}?)(?<=[^\s_])_{1,3}(?!\w)")
# Tags of emphasis, and a tokenizer's own marks where decoding left them in.
_TAG = re.compile(r"</?(?:b|i|u|p|s|em|br|strong|span|pad|eos)\s?/?>", re.IGNORECASE)
# A dash that opens a later line is a bullet; one that opens the text may be a sign.
_DASH = re.compile(r"\n {0,8}- +(?=\S)")
_BULLET = re.compile(r"^ {0,8}[*•‣▪] +", re.MULTILINE)

# A capital "Question:" starts a new question anywhere (one-line text has lost its newlines); a
# small one only at the start of a line, since "to answer the question: 5" is part of a chain.
_NEW_QUESTION = re.compile(
    r"""
      (?<![^\s.!?\"')\]}])(?-i:Q|Question|QUESTION)\ ?:
    | ^[ #>]{0,8}(?:q|question|problem)\ ?:
    | (?P<numbered>
        (?<![^\s.!?\"')\]}])(?-i:Question|QUESTION)\ ?\#?(?P<first>[0-9]{1,4})\ ?:
      | ^[ #>]{0,8}(?:q|question|problem)\ ?\#?(?P<second>[0-9]{1,4})\ {0,2}(?:[:.)]|$))
    | ^[ >]{0,8}\#{1,6}\ ?(?:question|problem)\ {0,4}$
    """,
    re.MULTILINE | re.VERBOSE | re.IGNORECASE,
)


def plain(text: str) -> str:
    """Return `text` with characters unified and markdown emphasis removed."""
    text = text.replace("\r\n", "\n").translate(SAME_LENGTH).translate(INVISIBLE)
    if "<" in text:
        text = _TAG.sub("", text)
    if "- " in text:
        text = _DASH.sub("\n", text)
    if "*" in text or "•" in text:
        text = _BULLET.sub("", text)
        text = _STAR.sub(r"\1", _BOLD.sub("", _POWER.sub("^", text)))
    if "_" in text:
        text = _UNDERSCORE.sub(r"\1", text)
    return text.replace("`", "") if "`" in text else text


def own_part(text: str) -> str:
    """Return the part of a plain text before the next question ("Q:", "Question 2:") starts.

    A question at the very start is the chain's own, restated; and where numbers begin with 1 the
    questions are the steps of one chain.
    """
    steps = False
    for found in _NEW_QUESTION.finditer(text):
        steps = steps or (found["first"] or found["second"]) == "1"
        if (found["numbered"] and steps) or not text[: found.start()].strip():
            continue
        return text[: found.start()]
    return text


def arithmetic(text: str) -> str:
    """Return `text` with the signs of arithmetic, fractions and LaTeX in plain characters."""
    text = text.translate(ARITHMETIC)
    text = re.sub(
        "[½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞⅐⅑⅒]",
        lambda m: (" " if m.start() and text[m.start() - 1].isdigit() else "") + _VULGAR[m[0]],
        text,
    )
    text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+", lambda m: "^" + m[0].translate(_SUPERSCRIPTS), text)
    text = re.sub(r"\^(-[0-9]+)", r"^(\1)", text)
    text = text.replace("√", " sqrt")
    return from_latex(text) if "\\" in text or "{" in text or "^" in text else text


_DROPPED = re.compile(
    r"\\(?:left|right|displaystyle|textstyle|big|Big|bigg|Bigg|limits|mathstrut)(?![A-Za-z])"
    r"|\\!|\^\{?\\circ\}?|\\circ(?![A-Za-z])"
)
_SPACES = re.compile(r"\\[,;: ()\[\]]|\\q?quad(?![A-Za-z])|\\\\|~")
_WRAPPED = re.compile(
    r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|mathsf|operatorname|mbox|boxed|fbox|"
    r"emph|underline)\s?\{([^{}]*)\}(?P<raised>\s*(?=\^))?"
)
_FRACTION = re.compile(
    r"([0-9]?)\\[dtc]?frac\s?(?:\{([^{}]*)\}|([0-9]))\s?(?:\{([^{}]*)\}|([0-9]))"
)
_WORDS = {
    **{"times": "*", "cdot": "*", "ast": "*", "div": "/", "pm": "±", "mp": "±"},
    **{"approx": "≈", "simeq": "≈", "infty": " infinity ", "pi": "π", "sqrt": " sqrt"},
    **{"le": " ≤ ", "leq": " ≤ ", "ge": " ≥ ", "geq": " ≥ ", "to": " to ", "ldots": "..."},
}
_COMMAND = re.compile(r"\\([A-Za-z]+)")


def from_latex(text: str) -> str:
    r"""Return LaTeX mathematics as plain arithmetic, e.g. `1\frac{1}{2}` as `1 1/2`.

    Braces are resolved innermost first, at most eight levels; what is deeper stays unreadable,
    which makes it no answer.
    """
    text = text.replace("{,}", ",").replace("\\$", "$").replace("\\%", "%")
    text = _SPACES.sub(" ", _DROPPED.sub("", text))
    for _ in range(8):
        unwrapped = _FRACTION.sub(_plain_fraction, _WRAPPED.sub(_plain_words, text))
        # In brackets of its own, or the exponent of \sqrt[3]{8}^2 would hold both.
        unwrapped = re.sub(r"\\sqrt ?\[([1-9][0-9]?)\] ?\{([^{}]*)\}", r"((\2)^(1/\1))", unwrapped)
        unwrapped = re.sub(r"\\sqrt ?\{([^{}]*)\}", r"\\sqrt(\1)", unwrapped)
        unwrapped = re.sub(r"\^\{([0-9])\}", r"^\1", unwrapped)
        unwrapped = re.sub(r"\^\{([^{}]*)\}", r"^(\1)", unwrapped)
        if unwrapped == text:
            break
        text = unwrapped
    text = text.replace("\\{", "{").replace("\\}", "}")
    return _COMMAND.sub(lambda m: _WORDS.get(m[1], f" {m[1]} "), text)


def _plain_words(found: re.Match[str]) -> str:
    """Write words in running text; an exponent stays with its unit, as in `5 cm^2`."""
    words = found[1]
    return f" {words} " if found["raised"] is None else f" {words.rstrip()}"


def _plain_fraction(found: re.Match[str]) -> str:
    r"""Write one LaTeX fraction as `a/b`, apart from a whole number before it.

    Brackets keep it together where something touches it: `\frac{1}{2}x` is not `1/2x`.
    """
    whole, top, bottom = found[1], found[2] or found[3] or "", found[4] or found[5] or ""
    top, bottom = top.strip(), bottom.strip()
    simple = top.isdigit() and bottom.isdigit()
    fraction = f"{top}/{bottom}" if simple else f"({top})/({bottom})"
    before, after = found.string[: found.start()][-1:], found.string[found.end() :][:1]
    if whole:
        return f"{whole} {fraction} " if after.isalpha() else f"{whole} {fraction}"
    touched = before.isalnum() or before == ")" or after.isalnum() or after in tuple("(\\^_{")
    return f"({fraction})" if touched else fraction
