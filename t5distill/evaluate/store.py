"""The files of one inference run, which lose no work to a kill.

NAME.jsonl            predictions in the problems' order, written once all are there
NAME.settings.json    what they depend on; an equal run takes the file as it is
NAME.jsonl.partial    while running: the settings, then one line for each turn of a problem (in a
                      bucket NAME.jsonl.partial-00000 and so on)
NAME.old.…            the same of the last run that had other settings
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

from t5distill.evaluate.journal import journal
from t5distill.evaluate.rounds import Turns
from t5distill.records import Prediction, from_object, to_json, write_json, write_jsonl


class Store:
    """What a run has written so far."""

    def __init__(self, out: pathlib.Path, settings: dict[str, Any]):
        """Look for earlier work with the same settings."""
        self.out = out
        self.settings = settings
        self.settings_path = out.with_suffix(".settings.json")
        self._partial = journal(out.with_name(out.name + ".partial"))
        self.complete = self._is_complete()
        self.turns: dict[int, Turns] = {}
        self._good_bytes = 0
        self.set_aside: list[pathlib.Path] = []
        if not self.complete:
            self._read_partial()

    def _is_complete(self) -> bool:
        """Say whether the output is there, untouched, from the same settings."""
        try:
            saved = json.loads(self.settings_path.read_text(encoding="utf-8"))
            digest = hashlib.sha256(self.out.read_bytes()).hexdigest()
            return saved["settings"] == self.settings and saved["sha256"] == digest
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def _read_partial(self) -> None:
        """Take over the whole lines of a run that was cut off, if its settings were the same."""
        lines = self._partial.read().split(b"\n")
        # What follows the last newline is the line that was being written.
        for i, line in enumerate(lines[:-1]):
            try:
                obj = json.loads(line)
                if i == 0 and obj != self.settings:
                    return
                if i > 0:
                    self._take(obj)
            except (ValueError, KeyError, TypeError):
                return
            self._good_bytes += len(line) + 1

    def _take(self, obj: dict[str, Any]) -> None:
        """Take over one line; raise ValueError where it does not follow those before it."""
        predictions = [from_object(Prediction, p) for p in obj["predictions"]]
        turns = self.turns.setdefault(int(obj["index"]), {})
        for prediction in predictions:
            if len(turns.get(prediction.sample, ())) != obj["turn"]:
                raise ValueError(f"turn {obj['turn']} of {obj['index']} is out of order")
        for prediction in predictions:
            turns.setdefault(prediction.sample, []).append(prediction)

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Hold the partial file open behind its last whole line, unless all is done."""
        if self.complete:
            yield
            return
        if not self._good_bytes:
            aside = self._aside(self._partial.path)
            if self._partial.put_aside(aside):
                self.set_aside.append(aside)
        self._partial.begin(self._good_bytes)
        try:
            if self._good_bytes == 0:
                self._partial.add(json.dumps(self.settings).encode() + b"\n")
            yield
        finally:
            self._partial.close()

    def _set_aside(self, *paths: pathlib.Path) -> None:
        """Keep what another run left here as NAME.old.jsonl, one such run long."""
        for path in paths:
            if path.exists():
                aside = self._aside(path)
                path.replace(aside)
                self.set_aside.append(aside)

    def _aside(self, path: pathlib.Path) -> pathlib.Path:
        return path.with_name(path.name.replace(self.out.stem, f"{self.out.stem}.old", 1))

    def add(self, index: int, turn: int, predictions: list[Prediction]) -> None:
        """Keep one turn of a problem in the partial file."""
        records = ", ".join(map(to_json, predictions))
        line = f'{{"index": {index}, "turn": {turn}, "predictions": [{records}]}}\n'
        self._partial.add(line.encode())

    def finish(self, predictions: Iterable[Prediction]) -> None:
        """Write the output, then its settings; an older pair never counts as this one."""
        self._set_aside(self.settings_path, self.out)
        write_jsonl(self.out, predictions)
        digest = hashlib.sha256(self.out.read_bytes()).hexdigest()
        write_json(self.settings_path, {"settings": self.settings, "sha256": digest})
        self._partial.remove()
