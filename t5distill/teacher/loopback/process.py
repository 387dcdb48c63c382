"""The loopback teacher as a child of this process, which it never outlives."""

from __future__ import annotations

import subprocess
import sys

from t5distill.errors import UserError
from t5distill.records import Path


class LoopbackProcess:
    """A loopback teacher in a process of its own, for the length of a `with` block.

    Beside the requests of this process it takes a core of its own, which a thread would not. It
    ends with the block, and also when this process is killed: it waits for the end of a pipe that
    the kernel closes then.

    Attributes:
      url: what a client takes as base URL, once it listens.
      command: what starts the same teacher by hand, on the same port.
    """

    def __init__(
        self,
        problems: Path,
        *,
        model: str = "loopback",
        seed: int = 0,
        wrong_rate: float = 0.0,
        malformed_rate: float = 0.0,
    ):
        """Put the command together; nothing runs before the `with` block.

        Args:
          problems: file of the embedded problems that it answers.
          model: see `LoopbackTeacher`, as the others.
          seed: of the answers.
          wrong_rate: the expected share of wrong answers.
          malformed_rate: the expected share of malformed answers.
        """
        self.url = ""
        self.command = [
            *("python", "-m", "t5distill.teacher.loopback"),
            *("--problems", str(problems), "--model", model, "--seed", str(seed)),
            *("--wrong-rate", str(wrong_rate), "--malformed-rate", str(malformed_rate)),
        ]

    def __enter__(self) -> LoopbackProcess:
        """Start it and wait until it listens.

        Raises:
          UserError: it ended instead.
        """
        # A group of its own: Ctrl-C reaches every process in the terminal's group, and replies
        # that this process still waits for have to come.
        self._process = subprocess.Popen(
            [sys.executable, *self.command[1:], "--until-eof"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        try:
            line = self._process.stdout.readline() if self._process.stdout else ""
            said, _, self.url = line.strip().rpartition(" ")
            if said != "listening on":
                raise UserError(
                    f"the loopback teacher ended with code {self._process.wait()} before it "
                    "listened; its own words stand above"
                )
        except BaseException:
            self._end()
            raise
        port = self.url.removesuffix("/v1").rpartition(":")[2]
        self.command += ["--port", port]
        return self

    def __exit__(self, *_: object) -> None:
        """End it and wait until it has gone."""
        self._end()

    def _end(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()
        self._process.wait()
