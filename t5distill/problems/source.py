"""Official files as rows that know their place, so that every error names file and line."""

from __future__ import annotations

import dataclasses
import decimal
import hashlib
import json
import pathlib
from collections.abc import Iterator
from typing import Any

from t5distill.errors import UserError

# 1e60 is far above any benchmark's answer, and a hostile "1e999999999" would fill the memory when
# written out.
_MAX_EXPONENT = 60


@dataclasses.dataclass(frozen=True)
class Row:
    """One record of an official file.

    Attributes:
      place: file and line, or file and record number.
      fields: the decoded JSON object; numbers with a point are `decimal.Decimal`.
    """

    place: str
    fields: dict[str, Any]

    def error(self, message: str) -> UserError:
        """Return the error to raise about this row."""
        return UserError(f"{self.place}: {message}")

    def get(self, name: str) -> Any:
        """Return a field that must be there."""
        if name not in self.fields:
            raise self.error(f"no field {name!r}; found {', '.join(self.fields) or 'none'}")
        return self.fields[name]

    def text(self, name: str) -> str:
        """Return a text field that must not be empty, unchanged."""
        value = self.get(name)
        if not isinstance(value, str) or not value.strip():
            raise self.error(f"{name} is {value!r}, wanted text")
        return self.storable(value)

    def texts(self, name: str) -> list[str]:
        """Return a field that is a list of texts."""
        value = self.get(name)
        if not isinstance(value, list) or not all(isinstance(x, str) for x in value):
            raise self.error(f"{name} is {value!r}, wanted a list of texts")
        return [self.storable(x) for x in value]

    def number(self, name: str) -> str:
        """Return a numeric field, given as number or text, as plain decimal text."""
        value = self.get(name)
        try:
            return decimal_text(value)
        except ValueError as e:
            raise self.error(f"{name} is {value!r}, wanted a number") from e

    def storable(self, value: str) -> str:
        """Return the text, or raise where it cannot be written as UTF-8."""
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as e:
            raise self.error(f"{value[:60]!r} holds half a surrogate pair, which is no text") from e
        return value


def json_lines(path: pathlib.Path) -> Iterator[Row]:
    """Yield the objects of a JSON Lines file.

    Only a line feed ends a line: official texts hold U+2028 and the like inside strings.

    Raises:
      UserError: a line is not UTF-8 or not a JSON object.
    """
    with open(path, "rb") as f:
        for number, raw in enumerate(f, start=1):
            if raw.strip():
                place = f"{path}:{number}"
                yield _row(place, _parse(raw, place, line=True))


def json_array(path: pathlib.Path, *, key: str | None = None) -> Iterator[Row]:
    """Yield the objects of a JSON file that is one list, or holds one under `key`.

    Raises:
      UserError: no JSON, no such list, or an item is no object (by number, counted from 1).
    """
    document = _parse(path.read_bytes(), str(path))
    if key is not None:
        document = _row(str(path), document).get(key)
    if not isinstance(document, list):
        raise UserError(f"{path}: found {type(document).__name__}, wanted a list of records")
    for number, item in enumerate(document, start=1):
        yield _row(f"{path}: record {number}", item)


def json_object(path: pathlib.Path) -> Row:
    """Return a JSON file that is one object."""
    return _row(str(path), _parse(path.read_bytes(), str(path)))


def looks_like_array(path: pathlib.Path) -> bool:
    """Say whether the file's first character opens a JSON list, whatever its name ends in."""
    with open(path, "rb") as f:
        return f.read(1024).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")


def sha256(path: pathlib.Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def decimal_text(value: Any) -> str:
    """Return a number, or the text of one, as plain decimal text.

    51.0 becomes "51", 2e-06 becomes "0.000002".
    Thousands separators are no part of it: the benchmarks that have them say so in their reader.

    Raises:
      ValueError: it is no finite number.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float | decimal.Decimal):
        raise ValueError(f"{value!r} is no number")
    try:
        number = decimal.Decimal(str(value).strip())
    except decimal.InvalidOperation as e:
        raise ValueError(f"{value!r} is no number") from e
    if not number.is_finite() or abs(number.adjusted()) > _MAX_EXPONENT:
        raise ValueError(f"{value!r} is no number of a size that benchmarks have")
    if number == number.to_integral_value():
        return str(int(number))
    return format(number, "f").rstrip("0")


def _parse(raw: bytes, place: str, *, line: bool = False) -> Any:
    """Decode JSON; the error names the line, which `place` has already where `line` is set."""
    try:
        return json.loads(
            raw.decode("utf-8-sig"), parse_float=decimal.Decimal, parse_constant=_refuse_constant
        )
    except json.JSONDecodeError as e:
        where = place if line else f"{place}:{e.lineno}"
        raise UserError(f"{where}: no JSON: {e.msg} (column {e.colno})") from e
    except (ValueError, RecursionError) as e:
        raise UserError(f"{place}: no JSON: {e}") from e


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _row(place: str, value: Any) -> Row:
    if not isinstance(value, dict):
        raise UserError(f"{place}: found {type(value).__name__}, wanted a JSON object")
    return Row(place, value)
