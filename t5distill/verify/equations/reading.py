"""Finding the equations of a text: lines, statements, what is prose, what is a label."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterator

from t5distill.verify.equations import dimensions, lexer, rounding, selfnamed, units
from t5distill.verify.equations.grammar import EquationProblem, Tree, parse
from t5distill.verify.tokens import Token, words

MAX_CHARACTERS = 100_000
MAX_LINES = 400
MAX_EQUATIONS = 400
MAX_TOKENS = 1_000  # of one line

# Words after which an equation may begin in the middle of a sentence.
_LEADS = frozenset(
    words(
        "let so then thus hence therefore we have has get gets gives give is are be that as know "
        "known since because if also now given finally means mean equation equations follows "
        "need needs can write solve first next"
    )
)
# Words before "answer", as in "the final answer = 5".
_ARTICLES = frozenset(words("the our my final correct"))
# Words that make a phrase say something in numbers, so that it cannot be left out.
_ARITHMETIC_WORDS = frozenset(
    words(
        "times plus minus divided percent twice double triple half quarter third less more fewer "
        "greater squared cubed sum difference product quotient if else or lambda"
    )
)
_PROSE = ("name", "word", "separator")
_ITEM = re.compile(r"(?:[•‣▪] *|\* +)|(?:[0-9]{1,3}(?:\)|\.(?![0-9]))|[a-zA-Z]\))\s*(?=\S)")
_NUMBERED = re.compile(r"\(([0-9]{1,3})\) +(?=\S)")
_COMMENT = re.compile(r"#(?![0-9]).*")
_ANSWER_LABEL = re.compile(r"\W*(?:the |final )*ans(?:wer)?\s*:\s*(?=\S)", re.IGNORECASE)
_COMPARISON = re.compile(r"[<>≤≥≠≈]")


@dataclasses.dataclass(frozen=True)
class System:
    """The equations of a text.

    Attributes:
      equations: the sides of each, two or more.
      asked: the unknown that is asked for, or None.
      unknowns: every unknown, in order of appearance.
      places: of each equation the decimals of the number at its end, which may be a rounded one;
        see `rounding.places`.
    """

    equations: list[list[Tree]]
    asked: str | None
    unknowns: list[str]
    places: list[int | None]


def read(text: str) -> System:
    """Read the equations of a text.

    Raises:
      EquationProblem: something that looks like an equation cannot be read for certain, or the
        text is too large.
    """
    if len(text) > MAX_CHARACTERS:
        raise EquationProblem(f"more than {MAX_CHARACTERS} characters")
    dropped: list[list[Token]] = []
    statements = [split for s in _statements(text, dropped) for split in _put_newlines_back(s)]
    if len(statements) > MAX_EQUATIONS:
        raise EquationProblem(f"more than {MAX_EQUATIONS} equations")
    alone = units.standing_alone(statements)
    _check_dropped(dropped, alone)
    settled = _settled(statements, alone)
    equations = [parse(tokens) for tokens in settled]
    unknowns = list(dict.fromkeys(t.text for s in settled for t in s if t.kind == "name"))
    places = [rounding.places(tokens) for tokens in settled]
    return System(equations, _asked(text, settled, unknowns), unknowns, places)


def _settled(statements: list[list[Token]], alone: set[str]) -> list[list[Token]]:
    """Return the statements without units, where no unit is mistaken for an unknown."""
    scopes, both = selfnamed.scopes(statements, alone)
    pairs = list(zip(statements, scopes, strict=True))
    settled = [units.settled(tokens, scope, both) for tokens, scope in pairs]
    if dimensions.several_units(statements):
        dimensions.check([units.settled(tokens, s, both, marked=True) for tokens, s in pairs])
    return settled


def _check_dropped(dropped: list[list[Token]], alone: set[str]) -> None:
    """Refuse where what was taken for a definition or a remark holds an unknown.

    Raises:
      EquationProblem: it may be a product, as in "z = x y", or a second value: "ans = x, y"; or
        what is asked is said in words only.
    """
    for tokens in dropped:
        name, phrase = _name_and_phrase(tokens)
        if any(t.text in units.ASKED and t.text not in alone for t in name):
            raise EquationProblem(f"{name[0].text!r} is set to words: {_shown(tokens)!r}")
        unknown = next((t.text for t in phrase if t.text in alone), None)
        if unknown:
            raise EquationProblem(f"{_shown(tokens)!r} holds the unknown {unknown!r}")


def _asked(text: str, statements: list[list[Token]], unknowns: list[str]) -> str | None:
    named = next((name for name in units.ASKED if name in unknowns), None)
    if named or not statements:
        return named
    ending = text[-200:].rstrip().rpartition("\n")[2].strip().lower()
    if ending and "answer".startswith(ending):
        raise EquationProblem("cut off before it says what is asked")
    first, second = statements[-1][:2]
    if first.kind == "name" and second.kind == "equals":
        return first.text
    return unknowns[0] if len(unknowns) == 1 else None


def _statements(text: str, dropped: list[list[Token]]) -> Iterator[list[Token]]:
    """Yield the tokens of every equation, once each: a looping student repeats itself.

    What is left out though it may hold an unknown goes to `dropped`.
    """
    written = [_without_comment(line) for line in lexer.lines(text)]
    written = [line for line in dict.fromkeys(written) if _is_formal(line)]
    if len(written) > MAX_LINES:
        raise EquationProblem(f"more than {MAX_LINES} lines of equations")
    dashes = [line.startswith("- ") for line in written]
    bullets = all(dashes) and len(dashes) > 1
    if any(dashes) and not bullets:
        raise EquationProblem("a dash before an equation that may be a bullet or a sign")
    numbered = 0
    for line in written:
        line = line[2:].lstrip() if bullets else line
        if item := _ITEM.match(line):
            line = line[item.end() :]
        if number := _NUMBERED.match(line):
            numbered = _next_number(number[1], numbered)
            line = line[number.end() :]
        answer = _ANSWER_LABEL.match(line)
        line = f"Answer = {line[answer.end() :]}" if answer else line
        tokens = lexer.tokenize(line)
        if len(tokens) > MAX_TOKENS:
            raise EquationProblem(f"more than {MAX_TOKENS} signs on a line")
        after = True  # at the beginning of a line, or after an equation
        for piece in _pieces(_without_remarks(tokens)):
            statement = _equation(piece, dropped)
            if after and statement is None:
                _check_tail(piece, dropped)
            after = statement is not None
            if statement and (label := _trailing_number(statement)):
                numbered = _next_number(label, numbered)
                statement = statement[:-3]
            if statement:
                yield statement


def _without_comment(line: str) -> str:
    """Return a line without its comment, unless that speaks of the value beside it."""
    if (found := _COMMENT.search(line)) and "=" in line[: found.start()]:
        rounding.refuse_rounding(found[0])
    return _COMMENT.sub("", line).strip()


def _check_tail(piece: list[Token], dropped: list[list[Token]]) -> None:
    """Keep what may be a second value, as the y of "ans = x, y"."""
    if any(t.kind == "equals" for t in piece):
        return  # a definition in words
    rounding.refuse_rounding(" ".join(t.text for t in piece))
    if len(piece) <= 3:
        dropped.append(piece[:1])


def _is_formal(line: str) -> bool:
    """Tell a line that holds an equation from one of prose."""
    if "=" in line or _ANSWER_LABEL.match(line):
        return True
    if _COMPARISON.search(line):
        raise EquationProblem("an inequality")
    return False


def _next_number(number: str, before: int) -> int:
    """Return the number of an equation, if it carries the one after that of the last."""
    if int(number) != before + 1:
        raise EquationProblem(f"({number}) may be a factor or the number of the equation")
    return before + 1


def _trailing_number(tokens: list[Token]) -> str | None:
    """Return the 2 of "x + y = 10 (2)"."""
    if [t.kind for t in tokens[-4:]][-3:] != ["open", "number", "close"] or len(tokens) < 5:
        return None
    before, bracket, number = tokens[-4:-1]
    apart = before.kind in lexer.ENDS and before.end < bracket.start
    return number.text if apart and number.text.isdigit() and len(number.text) < 4 else None


def _without_remarks(tokens: list[Token]) -> list[Token]:
    """Leave out brackets that hold two words or more and stand apart: "x = 5 (from above)"."""
    kept: list[Token] = []
    for token in tokens:
        kept.append(token)
        if token.kind != "close":
            continue
        start = len(kept) - 2
        while start >= 0 and (kept[start].kind in _PROSE or kept[start].text == "of"):
            start -= 1
        count = len(kept) - 2 - start
        if start >= 0 and kept[start].kind == "open" and count >= 2:
            apart = not start or kept[start - 1].end < kept[start].start
            if apart and kept[start + 1].kind in ("name", "word"):
                rounding.refuse_rounding(" ".join(t.text for t in kept[start:]))
                del kept[start:]
    return kept


def _pieces(tokens: list[Token]) -> Iterator[list[Token]]:
    """Split a line at commas, semicolons, full stops and "and" outside of brackets."""
    piece: list[Token] = []
    depth = 0
    for token in tokens:
        depth += (token.kind == "open") - (token.kind == "close")
        if token.kind != "separator" or depth > 0:
            piece.append(token)
            continue
        if piece:
            yield piece
        piece = []
    if piece:
        yield piece


def _equation(tokens: list[Token], dropped: list[list[Token]]) -> list[Token] | None:
    """Return the equation of a piece without label and lead-in, or None where it is prose.

    A definition in words goes to `dropped`.
    """
    equals = [i for i, t in enumerate(tokens) if t.kind == "equals"]
    if not equals:
        if any(_COMPARISON.fullmatch(t.text) for t in tokens):
            raise EquationProblem("an inequality")
        if tokens[0].kind in ("name", "word") and not any(t.text in tuple("+*/^") for t in tokens):
            return None
        raise EquationProblem(f"{_shown(tokens)!r} is part of no equation")
    colons = [i for i in range(equals[0]) if tokens[i].kind == "colon"]
    if colons:
        if tokens[0].kind not in ("name", "word", "open", "hash"):
            raise EquationProblem("a colon in an equation")
        tokens = tokens[colons[-1] + 1 :]
    tokens = _without_lead(tokens)
    if _is_definition(tokens):
        dropped.append(tokens)
        return None
    return tokens


def _without_lead(tokens: list[Token]) -> list[Token]:
    """Leave out the words of a sentence before its equation: "So we have x + y = 10"."""
    count = 0
    while count < len(tokens) and tokens[count].kind in ("name", "word"):
        count += 1
    if count == len(tokens) or not count:
        return tokens
    # The last word is an unknown where a sign follows it, else all are words of the sentence.
    sign = tokens[count].kind in ("op", "equals", "percent")
    start = count - 1 if sign else count
    leads = start and tokens[start - 1].text.lower() in _LEADS
    if sign and tokens[start].text in units.ASKED:
        before = {t.text.lower() for t in tokens[:start]}
        leads = leads or before <= _LEADS | _ARTICLES
    return tokens[start:] if leads else tokens


def _is_definition(tokens: list[Token]) -> bool:
    """Tell a definition in words, such as "x = the number of apples"."""
    if sum(t.kind == "equals" for t in tokens) != 1:
        return False
    name, phrase = _name_and_phrase(tokens)
    if [t.kind for t in name] != ["name"]:
        return False
    if len(phrase) < 2 or not all(t.text.replace("'", "").isalpha() for t in phrase[:2]):
        return False
    signs = any(t.kind in ("op", "bad") and t.text != "of" for t in phrase)
    return not signs and not any(t.text.lower() in _ARITHMETIC_WORDS for t in phrase)


def _name_and_phrase(tokens: list[Token]) -> tuple[list[Token], list[Token]]:
    """Return the shorter and the longer side of an equation; without equals, none and all."""
    equals = next((i for i, t in enumerate(tokens) if t.kind == "equals"), None)
    if equals is None:
        return [], tokens
    shorter, longer = sorted((tokens[:equals], tokens[equals + 1 :]), key=len)
    return shorter, longer


def _put_newlines_back(tokens: list[Token]) -> list[list[Token]]:
    """Split a line that has lost its newlines: "x = 3 y = x + 2 ans = y".

    Only a line whose last equation is that of the answer is split, at the one place of each side
    where two operands stand side by side, apart.
    """
    equals = [i for i, t in enumerate(tokens) if t.kind == "equals"]
    if len(equals) < 2:
        return [tokens]
    before = equals[-1] - 1
    last = tokens[before]
    if before - 1 <= equals[-2] or last.text not in units.ASKED or not _apart(tokens, before):
        return [tokens]
    cuts = [0]
    for start, end in itertools.pairwise(equals):
        places = [i for i in range(start + 2, end) if _apart(tokens, i)]
        if len(places) != 1:
            raise EquationProblem("equations side by side, with nothing between them")
        cuts += places
    return [tokens[i:j] for i, j in zip(cuts, [*cuts[1:], None], strict=True)]


def _apart(tokens: list[Token], i: int) -> bool:
    """Tell whether two operands stand side by side, with a space between them, before index i."""
    left, right = tokens[i - 1], tokens[i]
    return left.kind in lexer.ENDS and right.kind in lexer.STARTS and left.end < right.start


def _shown(tokens: list[Token]) -> str:
    return " ".join(t.text for t in tokens)[:60]
