"""HTML as text in which nothing from data is anything but text."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence


class Markup(str):
    """Text that is HTML already; every other text is escaped where it goes in."""

    __slots__ = ()


def escaped(value: object) -> Markup:
    """Return a value as HTML."""
    if isinstance(value, Markup):
        return value
    # Half a surrogate pair, which a file's name may hold, is no text that can be written.
    text = str(value).encode("utf-8", "replace").decode("utf-8")
    return Markup(html.escape(text))


def tag(name: str, *children: object, **attributes: object) -> Markup:
    """Return an element; `class_` is the attribute `class`, an underscore in a name a dash.

    An attribute that is None is left out, one that is True has no value.
    """
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escaped(value)}"')
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{written}>{joined(children)}</{name}>")


def joined(parts: Iterable[object]) -> Markup:
    """Return parts after one another."""
    return Markup("".join(escaped(part) for part in parts))


Rows = Iterable[Sequence[object]]


def table(
    caption: object,
    heads: Sequence[object],
    rows: Rows | Mapping[str, Rows],
    *,
    words: Sequence[int] = (),
) -> Markup:
    """Return a table in a box that scrolls sideways where the screen is narrow.

    Args:
      caption: says what the table shows.
      heads: of its columns.
      rows: of its cells; the first is the row's head. By names they are groups of rows.
      words: the columns that hold words, beside the first; the others hold numbers.
    """
    groups = rows if isinstance(rows, Mapping) else {"": rows}
    if isinstance(rows, Mapping) and len(rows) == 1:
        caption = f"{caption} on {next(iter(rows))}"
    kinds = ["words" if i in (0, *words) else "number" for i in range(len(heads))]
    head = [tag("th", h, scope="col", class_=kind) for h, kind in zip(heads, kinds, strict=True)]
    bodies = []
    for name, some in groups.items():
        named = tag("th", name, scope="rowgroup", class_="group", colspan=len(heads))
        lines = [tag("tr", named)] if len(groups) > 1 else []
        for row in some:
            cells = [tag("td", c, class_=k) for c, k in zip(row[1:], kinds[1:], strict=True)]
            lines.append(tag("tr", tag("th", row[0], scope="row", class_="words"), *cells))
        bodies.append(tag("tbody", *lines))
    whole = tag("table", tag("caption", caption), tag("thead", tag("tr", *head)), *bodies)
    return tag("div", whole, class_="scroll", tabindex="0", role="region", aria_label=caption)


def details(summary: object, *children: object, open_: bool = False) -> Markup:
    """Return what is folded away until it is asked for."""
    return tag("details", tag("summary", summary), *children, open=open_ or None)
