"""ASDiv (Miao et al. 2020): 2,305 diverse word problems in XML.

Official: ASDiv.xml of chaochun/nlu-asdiv-dataset, `Problem` elements with the attributes ID, Grade
and Source and the children Body, Question, Solution-Type, Answer and Formula. There is no official
train/test split; papers cross-validate. All problems are kept; the form of the answer decides the
kind (real file: 2,093 numeric, 5 yes/no, 207 string):

  9 (apples)            numeric "9"; the unit goes into meta["unit"]
  5/2   -(1/3)          numeric fractions "5/2", "-1/3"
  Yes                   yes_no "yes"
  17 (years); 12 (years)  string "17; 12": several values have no single numeric answer; the values
                        stand in meta["values"], the units in meta["units"]
  5:45   3:30 p.m.      string as written: a time and a ratio look alike, and neither is a number
  anything else         string as written ("Mrs. Hilt", "6th", "They are equal")
"""

from __future__ import annotations

import pathlib
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Any

from t5distill.errors import UserError
from t5distill.problems import source
from t5distill.records import Problem

_VALUE = re.compile(r"(-?\d+(?:\.\d+)?)\s*(?:\(([^()]*)\))?", re.ASCII)
_FRACTION = re.compile(r"-?\d+/\d+|-\(\d+/\d+\)", re.ASCII)


def read(path: pathlib.Path, split: str) -> Iterator[Problem]:
    """Yield the problems of ASDiv.xml.

    Raises:
      UserError: the file is no XML (with its line), has no `Problem`, or one of them lacks a part.
    """
    for number, element in enumerate(_elements(path), start=1):
        identity = element.get("ID", "").strip()
        fields: dict[str, Any] = {child.tag: (child.text or "").strip() for child in element}
        row = source.Row(f"{path}: problem {number} ({identity or 'without ID'})", fields)
        if not identity:
            raise row.error("no attribute ID")
        kind, answer, meta = _answer(row.text("Answer"))
        extra = {
            "grade": element.get("Grade", ""),
            "type": fields.get("Solution-Type", ""),
            "formula": fields.get("Formula", ""),
        }
        yield Problem(
            id=f"asdiv-{identity}",
            question=f"{row.text('Body')} {row.text('Question')}",
            answer=answer,
            kind=kind,
            benchmark="asdiv",
            split=split,
            meta={**extra, **meta},
        )


def _elements(path: pathlib.Path) -> list[ET.Element]:
    """Parse the file and return its `Problem` elements."""
    raw = path.read_bytes()
    # The benchmark declares no entities; expat would expand nested ones without end.
    if b"<!ENTITY" in raw:
        raise UserError(f"{path}: declares XML entities, which ASDiv.xml does not; refused")
    try:
        root = ET.fromstring(raw)
    except ET.ParseError as e:
        raise UserError(f"{path}:{e.position[0]}: no XML: {e}") from e
    elements = list(root.iter("Problem"))
    if not elements:
        raise UserError(f"{path}: no <Problem> element; wanted ASDiv.xml")
    return elements


def _answer(text: str) -> tuple[str, str, dict[str, Any]]:
    """Return kind, answer and what else the answer says, by the table at the top."""
    value = _VALUE.fullmatch(text)
    if value is not None:
        return "numeric", source.decimal_text(value[1]), _unit(value[2])
    if _FRACTION.fullmatch(text):
        return "numeric", text.replace("(", "").replace(")", ""), {}
    if text.casefold() in ("yes", "no"):
        return "yes_no", text.casefold(), {}
    parts = [_VALUE.fullmatch(part.strip()) for part in text.split(";")]
    matches = [part for part in parts if part is not None]
    if len(matches) == len(parts) > 1:
        values = [source.decimal_text(part[1]) for part in matches]
        units = [part[2] or "" for part in matches]
        return "string", "; ".join(values), {"values": values, "units": units}
    return "string", text, {}


def _unit(unit: str | None) -> dict[str, Any]:
    return {"unit": unit.strip()} if unit else {}
