"""A student's work on one problem as a conversation: what it is asked, turn by turn.

Most styles ask once. Others go on from what the student wrote: sub-questions first and then their
solutions. A style says so with a generator, one for each problem and sample, which knows nothing of
networks and batches; whoever decodes (`evaluate.rounds`) asks the next turn of thousands together.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import NamedTuple


class Ask(NamedTuple):
    """One turn.

    Attributes:
      text: what the student reads.
      first: whether, of two students, the one is asked that comes first: the one that writes
        sub-questions, or the rationale for the other to answer from.
    """

    text: str
    first: bool = False


class Written(NamedTuple):
    """What the student wrote in a turn.

    Attributes:
      text: all of it.
      finished: whether it came to its end before the length limit.
    """

    text: str
    finished: bool = True


# Yields what to ask, is sent what was written, and returns the whole chain.
Conversation = Generator[Ask, Written, str]


def once(text: str) -> Conversation:
    """Ask for the chain at once."""
    return (yield Ask(text)).text


class Talk:
    """A conversation under way.

    Attributes:
      asked: the text of the first turn.
      pending: what is to be asked next, or None at the end.
      text: the whole chain, once there is nothing more to ask.
      turns: how many answers have come.
    """

    def __init__(self, conversation: Conversation):
        """Begin it."""
        self._conversation = conversation
        first = next(conversation)
        self.asked = first.text
        self.pending: Ask | None = first
        self.text = ""
        self.turns = 0

    def answer(self, text: str, *, finished: bool = True) -> None:
        """Go on with what the student wrote; see `Written`."""
        self.turns += 1
        try:
            self.pending = self._conversation.send(Written(text, finished))
        except StopIteration as end:
            self.pending, self.text = None, end.value
