"""A reversible spelling of any text with the characters that T5's SentencePiece model can carry.

T5's vocabulary has no `<`, `{`, `}`, backslash, `^`, `~` or backtick, nor `×`, `÷`, `−`, `√`, `π`;
its normalizer (NFKC) rewrites `½`, `²` and `…`, and newlines and runs of spaces collapse. The codec
sits between plain text and the tokenizer, on either side, and leaves common prose, digits and
arithmetic as they are, so that the pretrained pieces stay in use:

- A frequent character becomes one rare character of the vocabulary (its stand-in). Stand-ins are
  punctuation or Cyrillic letters, because no piece joins those to Latin letters: each is one token.
- Newline, four spaces, and a space that the normalizer would swallow have stand-ins as well. Before
  ordinary text each is written with a space after it, so that the word that follows keeps its
  word-initial piece, and that space is dropped on the way back.
- Every other character is written as the escape character, its code point in decimal, and `;`.
  The escape character and the stand-ins themselves are written so too: nothing is ambiguous.

A codec is data: the rules below are plain replacements of one literal by another, in order (two
are anchored to an end of the text), because the same rules also run as TensorFlow operations
(`data.vocabularies`) and go into a Hugging Face tokenizer.json. Decoding never fails: what is not
a well-formed escape stays as it is.
"""

from __future__ import annotations

import bisect
import dataclasses
import functools
import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

ANY, START, END = "any", "start", "end"


class Rule(NamedTuple):
    """Replace the literal `old` by the literal `new`: anywhere, or at the start or end only."""

    old: str
    new: str
    where: str = ANY

    def apply(self, text: str) -> str:
        """Return `text` with this rule applied, left to right without overlap."""
        if self.where == START:
            return self.new + text[len(self.old) :] if text.startswith(self.old) else text
        if self.where == END:
            return text[: -len(self.old)] + self.new if text.endswith(self.old) else text
        return text.replace(self.old, self.new)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Codec:
    """The reversible spelling for one family of vocabularies.

    Attributes:
      kept: the body of a regular expression's character class: the characters, besides the plain
        space, that the tokenizer carries unchanged and that are nobody's stand-in.
      newline: stand-in of the newline character.
      indent: stand-in of four spaces.
      space: stand-in of a space that would be lost otherwise.
      marks: pairs of a text and its stand-in, longer texts before their own beginnings.
      escape: the character that opens an escape.
    """

    kept: str
    newline: str
    indent: str
    space: str
    marks: tuple[tuple[str, str], ...]
    escape: str

    @property
    def foreign(self) -> str:
        """A regular expression for one character that has to be escaped."""
        sources = "".join(old for old, _ in self.marks if len(old) == 1)
        return f"[^ \n{self.kept}{re.escape(sources)}]"

    @functools.cached_property
    def mark_rules(self) -> tuple[Rule, ...]:
        """The rules that put stand-ins for characters that are not white space."""
        return tuple(Rule(old, new) for old, new in self.marks)

    @functools.cached_property
    def space_rules(self) -> tuple[Rule, ...]:
        """The rules for white space, to be applied after `mark_rules`."""
        blanks = (self.newline, self.indent, self.space)
        return (
            Rule("\n", self.newline),
            Rule("    ", self.indent),
            Rule("  ", 2 * self.space),
            # From here on no two plain spaces meet. A plain space beside a stand-in would be taken
            # for the one that the stand-in absorbs, and one at an end would be stripped.
            *(Rule(f"{blank} ", blank + self.space) for blank in blanks),
            *(Rule(f" {blank}", self.space + blank) for blank in blanks),
            Rule(" ", self.space, START),
            Rule(" ", self.space, END),
            # Now each run of stand-ins gets its space, unless it ends the text.
            *(Rule(blank, f"{blank} ") for blank in blanks),
            *(Rule(f" {blank}", blank) for blank in blanks),
            Rule(" ", "", END),
        )

    @functools.cached_property
    def decode_rules(self) -> tuple[Rule, ...]:
        """The rules of the way back, to be applied before escapes are resolved."""
        blanks = ((self.newline, "\n"), (self.indent, "    "), (self.space, " "))
        return (
            *(Rule(f"{blank} ", blank) for blank, _ in blanks),
            *(Rule(blank, text) for blank, text in blanks),
            *(Rule(new, old) for old, new in self.marks),
        )

    @functools.cached_property
    def _foreign(self) -> re.Pattern[str]:
        return re.compile(self.foreign)

    @functools.cached_property
    def _escaped(self) -> re.Pattern[str]:
        return re.compile(re.escape(self.escape) + "([1-9][0-9]{0,6}|0);")

    @property
    def stand_ins(self) -> str:
        """The characters that the codec gives a meaning of their own."""
        blanks = self.newline + self.indent + self.space
        return self.escape + blanks + "".join(new for _, new in self.marks)

    def escaped(self, character: str) -> str:
        """Spell one character as an escape."""
        # A lone surrogate is not text and could not be written as UTF-8.
        code = 0xFFFD if 0xD800 <= ord(character) < 0xE000 else ord(character)
        return f"{self.escape}{code};"

    def encode(self, text: str) -> str:
        """Spell `text` with characters of the vocabulary only."""
        text = self._foreign.sub(lambda match: self.escaped(match[0]), text)
        for rule in self._encode_rules:
            # Most are for anywhere; a call for each would take longer than its work.
            anywhere = rule.where == ANY
            text = text.replace(rule.old, rule.new) if anywhere else rule.apply(text)
        return text

    @functools.cached_property
    def _encode_rules(self) -> tuple[Rule, ...]:
        return (*self.mark_rules, *self.space_rules)

    @functools.cached_property
    def _resized(self) -> re.Pattern[str]:
        """What `encode` writes that is not as long as the plain text it stands for.

        Every alternative opens with a sign of its own, which makes the search several times faster
        than one for the absorbed space behind a stand-in.
        """
        longer = "".join(new for old, new in self.marks if len(old) > 1)
        alternatives = [
            f"{re.escape(self.escape)}[0-9]+;",
            f"{self.indent} ?",
            f"[{re.escape(self.newline + self.space)}] ",
        ]
        return re.compile(
            "|".join([*alternatives, *([f"[{re.escape(longer)}]"] if longer else [])])
        )

    def _resized_units(self, spelled: str) -> Iterator[tuple[int, int, int]]:
        """Yield where such a unit begins and ends, and the length of what it stands for."""
        for found in self._resized.finditer(spelled):
            begin, end = found.span()
            if spelled[end - 1] != " ":
                yield begin, end, self._plain_lengths.get(found[0], 1)
                continue
            if spelled[begin] == self.indent:
                yield begin, end - 1, 4
            yield end - 1, end, 0

    @functools.cached_property
    def _plain_lengths(self) -> dict[str, int]:
        return {new: len(old) for old, new in (*self.marks, ("    ", self.indent))}

    def plain_ends(self, spelled: str, ends: list[int]) -> list[int]:
        """Return offsets in a spelled text as offsets in the plain text.

        Args:
          spelled: what `encode` returned.
          ends: offsets in it, in ascending order.

        Returns:
          As many. An offset inside of an escape is where the escaped character begins; one before
          the space that a blank's stand-in absorbs, and one behind it, are the same.
        """
        found, shift, done = [], 0, 0
        for unit, unit_end, length in self._resized_units(spelled):
            inside = bisect.bisect_right(ends, unit, done)
            behind = bisect.bisect_left(ends, unit_end, inside)
            found += [end + shift for end in ends[done:inside]] if shift else ends[done:inside]
            found += [unit + shift] * (behind - inside)
            shift += length - (unit_end - unit)
            done = behind
        return found + [end + shift for end in ends[done:]]

    def decode(self, text: str) -> str:
        """Return the plain text that `text` spells; accept anything."""
        for rule in self.decode_rules:
            text = rule.apply(text)
        return self._escaped.sub(self._resolved, text)

    def _resolved(self, match: re.Match[str]) -> str:
        """Return the character of an escape, or the escape itself where none is meant."""
        code = int(match[1])
        if code > 0x10FFFF or 0xD800 <= code < 0xE000:
            return match[0]
        # Only what `encode` escapes: otherwise a model could spell digits and so further escapes.
        return chr(code) if self._foreign.fullmatch(chr(code)) else match[0]


# What the model at gs://t5-data/vocabs/cc_all.32000.100extra holds as pieces of one character, less
# the soft hyphen (invisible) and the stand-ins.
_T5_KEPT = r"!-;=>?@A-\[\]_a-z|£°ÉÎÜßàáâäçèéêîóôöùûüăşţșț–—‘’“”€"

T5 = Codec(
    kept=_T5_KEPT,
    newline="•",
    indent="у",
    space="′",
    marks=(
        ("<<", "«"),
        (">>", "»"),
        ("<", "а"),
        ("{", "и"),
        ("}", "н"),
        ("\\", "к"),
        ("^", "т"),
        ("~", "м"),
        ("`", "о"),
        # These three mostly stand between spaces, and the vocabulary has them as whole words.
        ("×", "в"),
        ("÷", "„"),
        ("−", "с"),
        ("√", "р"),
        ("π", "л"),
    ),
    escape="®",
)


@functools.cache
def multilingual() -> Codec:
    """Return the codec for mT5, whose vocabulary covers every script.

    mT5 spells unknown characters as bytes, so only white space, invisible characters and what NFKC
    rewrites need the codec. Text in Unicode's normal form C, which is what keyboards write, comes
    back exactly; sequences that form C would compose come back composed. The table is built on
    first use, in about a tenth of a second.
    """
    newline, indent, space, escape = "•¶¬®"
    # SentencePiece's word boundary, and a character that its normalizer turns into a space.
    taken = {newline, indent, space, escape, "▁", "\N{REPLACEMENT CHARACTER}"}
    kept = [
        code
        for code in range(0x21, 0x110000)
        if (c := chr(code)) not in taken
        and unicodedata.category(c)[0] not in "CZ"
        and unicodedata.is_normalized("NFKC", c)
    ]
    return Codec(
        kept=_character_class(kept),
        newline=newline,
        indent=indent,
        space=space,
        marks=(),
        escape=escape,
    )


def _character_class(codes: list[int]) -> str:
    """Return the body of a character class for sorted code points."""
    ranges: list[list[int]] = []
    for code in codes:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(
        re.escape(chr(a)) if a == b else f"{re.escape(chr(a))}-{re.escape(chr(b))}"
        for a, b in ranges
    )


def encode(text: str) -> str:
    """Spell `text` with characters of T5's vocabulary only."""
    return T5.encode(text)


def decode(text: str) -> str:
    """Return the plain text that `text` spells in T5's vocabulary; accept anything."""
    return T5.decode(text)
