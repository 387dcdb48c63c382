"""Reading a choice: the letter, in or out of brackets, or the option's text."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import re
from collections.abc import Callable, Sequence

from t5distill.verify import numeric
from t5distill.verify.markers import WINDOW, Piece
from t5distill.verify.plain import from_latex, plain
from t5distill.verify.quantities import Quantity, same_quantity
from t5distill.verify.readings import Reading, empty, undecided

_LETTER = re.compile(
    r"[(\[{]\s?(?P<bracketed>[A-Za-z])\s?[)\]}]"
    r"|(?<![\w'-])(?:option|choice|letter|answer)\s(?P<named>[A-Za-z])(?![\w'])"
    r"|(?<![\w'.(-])(?P<listed>[A-Za-z])(?:\)|:(?=\s|$)|\.(?=\s*\S))"
    r"|(?<![\w'.-])(?P<bare>[A-Z])(?![\w'-])"
)
_ONLY_LETTER = re.compile(r"\W*(?P<only>[A-Za-z])\W*")
_ARTICLE = re.compile(r"(?:a|an|the)\s+", re.IGNORECASE)
# After a capital A these words show that it is a letter; any other word makes it an article.
_AFTER_LETTER = re.compile(
    r"\s+(?:because|since|as|is|was|and|or|but|with|due|for|not|which|so)\b|\s*[^\w\s]|\s*$"
)
_JOINED = re.compile(
    r"\W*(?:\b(?:or|and|nor|versus|vs)\b|[,/&])\W*(?:\b(?:or|and|maybe|perhaps|possibly)\b)?\W*"
    r"(?:\b(?:option|choice|the|a|an)\b)?\W*",
    re.IGNORECASE,
)
_NEGATED = re.compile(
    r"\b(?:not|isn't|can(?:not|'t) be|never|neither|nor|anything but|everything but|all but|"
    r"except|(?:don't|doesn't|do not|does not) think (?:that )?(?:it is|it's)|"
    r"(?:rul(?:e[sd]?|ing) out|eliminat(?:e[sd]?|ing)|exclud(?:e[sd]?|ing)|reject(?:s|ed|ing)?))"
    r"\s+(?:\w+\s)?\W{0,2}$",
    re.IGNORECASE,
)
_DENIED_AFTER = re.compile(
    r"\W{0,2}\s(?:(?:is|are|was|were|seems)\s(?:\w+ly\s)?"
    r"(?:not|wrong|incorrect|false|impossible|out|ruled out|eliminated|excluded)\b"
    r"|(?:isn't|aren't|wasn't|can't be|cannot be|does not|doesn't)\b"
    r"|can be (?:ruled out|excluded|eliminated)\b)",
    re.IGNORECASE,
)
# An opening "A:" is a label, as in "Q: ... A: ...", where anything but option A follows it.
_LABEL = re.compile(r"\s*A ?: *")
_ENDS = re.compile(r"[.!?]+(?=[\s\"')\]}]|$)")
# A number, and the unit or word behind it.
_NUMBER = re.compile(r"([-+$]{0,2}[0-9][0-9., ]*(?:/ ?[0-9]+)?%?)\s*([a-z][a-z./^0-9 ]{0,30})?")


@dataclasses.dataclass(frozen=True)
class Choice:
    """Chosen options; duplicates of one text are chosen together."""

    letters: frozenset[str]


@dataclasses.dataclass(frozen=True)
class _Mention:
    start: int
    end: int
    letters: frozenset[str]
    shown: str
    by_text: bool


class Options:
    """The options of one question, prepared once for all the statements that are read.

    Attributes:
      letters: A, B, ... by position; empty where no options are known.
      patterns: for each different text its letters and the expression that finds it, the longest
        text first; texts of one character are left to the letters.
    """

    def __init__(self, choices: Sequence[str] | None):
        self.known = choices is not None and len(choices) > 0
        self.letters = [chr(ord("A") + i) for i in range(min(len(choices or ()), 26))]
        self.texts = [_option(text) for text in (choices or ())][:26]
        owners: dict[str, list[str]] = {}
        for letter, text in zip(self.letters, self.texts, strict=True):
            if len(text) > 1:
                owners.setdefault(text, []).append(letter)
        self.patterns = [
            (letters, re.compile(_before(text) + re.escape(text) + r"(?![\w]|[.,][0-9])"))
            for text, letters in sorted(owners.items(), key=lambda item: -len(item[0]))
        ]
        self.ending = [
            re.compile(r"\s+".join(map(re.escape, whole.split())), re.IGNORECASE)
            for whole in map(plain, choices or ())
            if _ENDS.search(whole) and len(whole) > 2
        ]

    def without_ends(self, text: str) -> str:
        """Return `text` without the marks inside option texts that would end a statement."""
        for pattern in self.ending:
            text = pattern.sub(lambda found: _ENDS.sub("", found[0]), text)
        return text

    def twins(self, letter: str) -> frozenset[str]:
        """Return a letter with the letters of options that have the same text."""
        if letter not in self.letters:
            return frozenset(letter)
        text = self.texts[self.letters.index(letter)]
        twins = [x for x, other in zip(self.letters, self.texts, strict=True) if other == text]
        return frozenset([letter, *twins] if text else letter)

    def letter_of(self, character: str) -> str:
        """Return the letter that one character names: itself, or an option whose text it is."""
        letter = character.upper()
        if letter not in self.letters and character.lower() in self.texts:
            return self.letters[self.texts.index(character.lower())]
        return letter

    def numbers(self) -> list[tuple[str, Quantity]]:
        """Return the letters of options that are numbers, with their values.

        Where all options have one unit ("3 km", "5 km"), it goes without saying.
        """
        matches = [_NUMBER.fullmatch(text) for text in self.texts]
        units = {match[2] for match in matches if match}
        together = all(matches) and len(units) == 1
        found = []
        for letter, match in zip(self.letters, matches, strict=True):
            if match and (together or match[2] is None):
                with contextlib.suppress(ValueError):
                    found.append((letter, numeric.gold(match[1].strip())))
        return found


def marked(piece: Piece, options: Options) -> Reading:
    """Read the first option that a marked statement names."""
    text = _normal(piece.text[:WINDOW])
    mentions = _mentions(text, options)
    positive = _affirmed(text, mentions)
    if not mentions:
        return _by_number(piece, options, numeric.marked) or empty("no option follows the mark")
    if not positive:
        return undecided("every option is denied")
    return _decide(text, positive, positive[0], options)


def last(piece: Piece, options: Options) -> Reading:
    """Read the one option that a statement names."""
    text = _normal(piece.text[-WINDOW:])
    if label := _LABEL.match(text):
        text = text[label.end() :]
    mentions = _mentions(text, options)
    if not mentions:
        return _by_number(piece, options, numeric.last) or empty("no option in the last statement")
    mentions = _affirmed(text, mentions)
    if not mentions:
        return undecided("every option is denied")
    if not frozenset.intersection(*(m.letters for m in mentions)):
        return undecided("several options without a decision")
    return _decide(text, mentions, mentions[-1], options)


def gold(text: str, options: Options) -> Choice:
    """Read a gold letter, in or out of brackets, or the text of an option.

    Raises:
      ValueError: it is no letter of the options.
    """
    found = re.fullmatch(r"\(?([A-Za-z])\)?\.?", text.strip())
    if found:
        letter = found[1].upper()
        if options.known and letter not in options.letters:
            raise ValueError(f"{text!r} is not a letter of the {len(options.letters)} options")
        return Choice(options.twins(letter))
    wanted = _option(text)
    pairs = zip(options.letters, options.texts, strict=True)
    letters = [letter for letter, option in pairs if wanted and option == wanted]
    if not letters:
        raise ValueError(f"{text!r} is neither a letter nor the text of an option")
    return Choice(frozenset(letters))


def same(answer: Choice, wanted: Choice) -> bool:
    """Tell whether a chosen option is the gold one, or bears the same text."""
    return bool(answer.letters & wanted.letters)


def _before(text: str) -> str:
    """Return what may not stand before an option's text: a sign or a point makes other numbers."""
    return r"(?<![\w.+–-])" if text[0].isdigit() else r"(?<!\w)"


def _normal(text: str) -> str:
    """Return a statement on one line, LaTeX resolved; case is kept, since it tells letters."""
    text = from_latex(text) if "\\" in text else text
    return " ".join(text.replace("$", " $").split())


def _option(text: str) -> str:
    """Return an option's text as it is looked for: small, no article, no final point."""
    text = _ENDS.sub("", from_latex(plain(text)).replace("$", " $"))
    text = " ".join(text.split()).lower().strip(" .\"'")
    shorter = _ARTICLE.sub("", text, count=1) if _ARTICLE.match(text) else text
    return shorter if len(shorter) > 1 else text


def _mentions(text: str, options: Options) -> list[_Mention]:
    """Return the options named in `text`, in order; a letter and its own text are one mention."""
    only = _ONLY_LETTER.fullmatch(text)
    if only:
        letter = options.letter_of(only["only"])
        return [
            _Mention(only.start("only"), only.end("only"), options.twins(letter), letter, False)
        ]
    by_text = _text_mentions(text.lower(), options)
    spans = [(m.start, m.end) for m in by_text]
    by_letter = [
        m for m in _letter_mentions(text, options) if not any(s <= m.start < e for s, e in spans)
    ]
    merged: list[_Mention] = []
    for mention in sorted(by_text + by_letter, key=lambda m: m.start):
        last = merged[-1] if merged else None
        near = last is not None and not re.search(r"\w", text[last.end : mention.start])
        if last and near and last.letters & mention.letters and not last.by_text:
            merged[-1] = dataclasses.replace(last, end=mention.end)
        else:
            merged.append(mention)
    return merged


def _affirmed(text: str, mentions: list[_Mention]) -> list[_Mention]:
    """Return the mentions that no "not", "rule out" or "is wrong" denies."""
    return [
        m
        for m in mentions
        if not _NEGATED.search(text[max(0, m.start - 30) : m.start])
        and not _DENIED_AFTER.match(text, m.end)
    ]


def _letter_mentions(text: str, options: Options) -> list[_Mention]:
    known = set(options.letters) if options.known else set("ABCDEFGHJKLMNOPQRSTUVWXYZ")
    mentions = []
    for found in _LETTER.finditer(text):
        letter = found[found.lastgroup or 0].upper()
        if found.lastgroup == "bare":
            # "A house", "I choose": an article or a pronoun before another word
            article = letter in "AI" and not _AFTER_LETTER.match(text, found.end())
            if article or letter not in known:
                continue
        # "choice a" ends a statement; in "the answer a person gives" the a is an article
        if found.lastgroup == "named" and not _AFTER_LETTER.match(text, found.end()):
            continue
        if found.lastgroup == "listed" and letter not in known:
            continue
        start, end = found.span(found.lastgroup or 0)
        mentions.append(
            _Mention(start, max(end, found.end()), options.twins(letter), letter, False)
        )
    return mentions


def _text_mentions(lowered: str, options: Options) -> list[_Mention]:
    """Find the texts of options as whole words; a text inside a longer one does not count."""
    found: list[_Mention] = []
    for letters, pattern in options.patterns:
        for place in pattern.finditer(lowered):
            covered = any(m.start <= place.start() and place.end() <= m.end for m in found)
            if not covered:
                start, end = place.span()
                found.append(_Mention(start, end, frozenset(letters), letters[0], True))
    return found


def _decide(text: str, mentions: list[_Mention], chosen: _Mention, options: Options) -> Reading:
    """Return the chosen option unless its neighbour contradicts it."""
    i = mentions.index(chosen)
    for left, right in itertools.pairwise(mentions[max(0, i - 1) : i + 2]):
        if left.letters & right.letters:
            continue
        between = text[left.end : right.start]
        # A letter with the text of another option: "(e) wait for orders" where that is (d).
        labelled = not left.by_text and right.by_text and not re.search(r"\w", between)
        listed = not (left.by_text or right.by_text) and not between.strip(" ;,/&+()[]")
        joined = len(between) < 40 and _JOINED.fullmatch(between) and between.strip()
        if labelled or listed or joined:
            return undecided("two options without a decision")
    before = text[max(0, chosen.start - 20) : chosen.start]
    following = mentions[i + 1 :]
    if re.search(r"\b(?:either|between|neither|both)\b[^.]*$", before, re.IGNORECASE) and following:
        return undecided("two options without a decision")
    letters = chosen.letters
    shown = chosen.shown
    outside = options.known and not letters & set(options.letters)
    at_end = chosen.end == len(text) and text[-1:].isalnum()
    why = f"{shown} is not among the options" if outside else ""
    return Reading("value", Choice(letters), shown, at_end=at_end, why=why)


def _by_number(piece: Piece, options: Options, read: Callable[[Piece], Reading]) -> Reading | None:
    """Read an answer that is a number equal to exactly one option ("12.0" for "12")."""
    numbers = options.numbers()
    reading = read(piece) if numbers else empty("no option is a number")
    if reading.status != "value":
        return None
    letters = [letter for letter, value in numbers if same_quantity(reading.value, value)]
    if not letters or len({options.twins(letter) for letter in letters}) > 1:
        return None
    return Reading("value", Choice(frozenset(letters)), letters[0], at_end=reading.at_end)
