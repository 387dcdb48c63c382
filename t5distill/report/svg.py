"""Charts as SVG, drawn here and not in the page: they need no JavaScript.

Places along the width are percentages and places along the height are pixels, so that a chart fills
a phone and a screen alike and its words keep their size.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

from t5distill.report.markup import Markup, tag

# Where the plot lies, in percent of the width; its labels stand to the left.
_LEFT, _RIGHT = 15.0, 97.0
_TOP, _HEIGHT = 12, 200
_ROW = 24
# The least share of the width between two labels, and pixels between intervals at one place.
_ROOM = 0.09
_ASIDE = 5.0
_MARKS = ("M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z", "M-4,-4h8v8h-8z", "M0,-5l5,9h-10z",
          "M0,-5l5,5l-5,5l-5,-5z")  # fmt: skip
_DASHES = (None, "7 4", "2 3", "9 3 2 3")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    """A place on a line, with its interval where there is one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a chart; `colour` is the number of a colour of page.css, `dash` of a pattern."""

    name: str
    colour: int
    points: Sequence[Point]
    dash: int = 0
    marks: bool = True


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round numbers between two, about so many."""
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def short(value: float) -> str:
    """Return a number in few characters: 1.5k, 3M, 0.001."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if letter == 'k' else size):.4g}{letter}"
    return f"{value:.4g}".replace("-", "−")


def interval(
    value: float,
    ends: tuple[float, float],
    *,
    colour: int,
    says: str,
    span: tuple[float, float] = (0.0, 1.0),
    each: Sequence[float] = (),
) -> Markup:
    """Return one row of a chart: a bar from zero, its interval, and a dot for each of some values.

    Args:
      value: how far the bar reaches.
      ends: of its interval.
      colour: its number.
      says: the row in words, for those who do not see it.
      span: the values at the row's left and right.
      each: values of single students.
    """

    def x(at: float) -> str:
        return f"{100 * (min(max(at, span[0]), span[1]) - span[0]) / (span[1] - span[0]):.2f}%"

    middle, zero = _ROW / 2, x(0.0)
    left, right = (zero, x(value)) if value >= 0 else (x(value), zero)
    width = f"{float(right[:-1]) - float(left[:-1]):.2f}%"
    grid = [
        tag("line", x1=x(t), x2=x(t), y1=0, y2=_ROW, class_="grid" if t else "axis")
        for t in ticks(*span, count=4)
    ]
    whisker = [
        tag("line", x1=x(ends[0]), x2=x(ends[1]), y1=middle, y2=middle),
        *(tag("line", x1=x(e), x2=x(e), y1=middle - 5, y2=middle + 5) for e in ends),
    ]
    dots = [tag("circle", cx=x(e), cy=middle, r=2.5) for e in each]
    return tag(
        "svg",
        tag("title", says),
        *grid,
        tag("rect", x=left, y=4, width=width, height=_ROW - 8, class_=f"bar fill{colour}"),
        tag("g", *whisker, class_="whisker"),
        tag("g", *dots, class_="dots"),
        width="100%",
        height=_ROW,
        role="img",
        aria_label=says,
    )


def scale(span: tuple[float, float] = (0.0, 1.0), *, unit: str = " %") -> Markup:
    """Return the labels below rows of `interval`; values are shares, shown in hundredths."""
    marks = ticks(*span, count=4)
    texts = []
    for value in marks:
        at = 100 * (value - span[0]) / (span[1] - span[0])
        anchor = "start" if at < 4 else "end" if at > 96 else "middle"
        label = f"{short(100 * value)}{unit if value == marks[-1] else ''}"
        texts.append(tag("text", label, x=f"{at:.2f}%", y=12, text_anchor=anchor))
    return tag("svg", *texts, width="100%", height=16, aria_hidden="true")


def stacked(shares: Sequence[tuple[str, float, int]], *, says: str) -> Markup:
    """Return one row of parts of a whole, `(name, share, colour)` each."""
    parts, left = [], 0.0
    for name, share, colour in shares:
        box = {"x": f"{100 * left:.3f}%", "width": f"{100 * share:.3f}%"}
        said = tag("title", f"{name} {100 * share:.1f} %")
        parts.append(tag("rect", said, **box, y=2, height=_ROW - 4, class_=f"part out{colour}"))
        left += share
    return tag("svg", *parts, width="100%", height=_ROW, role="img", aria_label=says)


def chart(
    lines: Sequence[Line],
    *,
    title: str,
    x_label: str,
    share: bool = True,
    log: bool = False,
) -> Markup:
    """Return a chart of lines with intervals, and what its colours mean.

    Args:
      lines: with a point each at least.
      title: what it shows.
      x_label: what lies along its width.
      share: whether heights are shares, from 0 on and shown in percent.
      log: whether the width is logarithmic; ignored where an x is not positive.
    """
    points = [p for line in lines for p in line.points]
    log = log and all(p.x > 0 for p in points)
    xs = [math.log10(p.x) if log else p.x for p in points]
    ys = [y for p in points for y in (p.y, p.low, p.high) if y is not None]
    low, high = (0.0, min(1.0, max([*ys, 0.05]) * 1.08)) if share else (min(ys), max(ys))
    frame = _Frame(
        marked=sorted({p.x for line in lines if line.marks for p in line.points}),
        x=(min(xs), max(xs)) if max(xs) > min(xs) else (min(xs) - 0.5, max(xs) + 0.5),
        y=(low, high) if high > low else (low - 0.5, high + 0.5),
        log=log,
    )
    drawing = tag(
        "svg",
        tag("title", title),
        *frame.grid(share),
        *(_line(frame, line, aside) for line, aside in zip(lines, _asides(lines), strict=True)),
        width="100%",
        height=_TOP + _HEIGHT + 24,
        role="img",
        aria_label=title,
        class_="chart",
    )
    says = tag("span", x_label + (" (logarithmic)" if log else ""), class_="xlabel")
    return tag("figure", tag("figcaption", title), drawing, says, legend(lines))


def legend(lines: Sequence[Line]) -> Markup:
    """Return what the colours, dashes and marks of lines mean."""
    known: dict[tuple[str, int], Line] = {}
    for line in lines:
        known.setdefault((line.name, line.colour), line)
    items = []
    for line in known.values():
        sample = tag(
            "svg",
            tag("line", x1=0, x2=28, y1=6, y2=6, **_stroke(line)),
            _mark(line.colour, "14", 6.0) if line.marks else "",
            width=28,
            height=12,
            aria_hidden="true",
        )
        items.append(tag("li", sample, " ", tag("bdi", line.name)))
    return tag("ul", *items, class_="legend")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Frame:
    """Where values lie in a chart; `x` and `y` are its ends, `x` in powers of ten where `log`.

    `marked` are the places of marks along its width.
    """

    marked: Sequence[float]
    x: tuple[float, float]
    y: tuple[float, float]
    log: bool

    def along(self, x: float) -> float:
        """Return the place of an x, from 0 to 1."""
        x = math.log10(x) if self.log else x
        return (x - self.x[0]) / (self.x[1] - self.x[0])

    def place(self, x: float) -> str:
        """Return the place of an x in percent of the drawing's width."""
        return f"{_LEFT + (_RIGHT - _LEFT) * self.along(x):.3f}%"

    def height(self, y: float) -> float:
        """Return the place of a y in pixels from the top."""
        return round(_TOP + _HEIGHT * (1 - (y - self.y[0]) / (self.y[1] - self.y[0])), 2)

    def grid(self, share: bool) -> list[Markup]:
        """Return the lines and labels of both axes."""
        drawn = []
        for y in ticks(*self.y):
            at, label = self.height(y), f"{short(100 * y)} %" if share else short(y)
            ends = {"x1": f"{_LEFT}%", "x2": f"{_RIGHT}%"}
            drawn.append(tag("line", **ends, y1=at, y2=at, class_="grid"))
            drawn.append(tag("text", label, x=f"{_LEFT - 2.5}%", y=at + 4, text_anchor="end"))
        for x in self._x_ticks():
            place = self.place(x)
            drawn.append(
                tag("text", short(x), x=place, y=_TOP + _HEIGHT + 18, text_anchor="middle")
            )
        return drawn

    def _x_ticks(self) -> Sequence[float]:
        places = [self.along(x) for x in self.marked]
        if places and all(b - a > _ROOM for a, b in itertools.pairwise(places)):
            return self.marked
        if not self.log:
            return ticks(*self.x, count=4)
        low, high = (10**end for end in self.x)
        steps = (1, 2, 5) if self.x[1] - self.x[0] < 2.5 else (1,)
        powers = range(math.floor(self.x[0]), math.ceil(self.x[1]) + 1)
        found = [s * 10.0**p for p in powers for s in steps]
        return [x for x in found if low * 0.999 <= x <= high * 1.001] or [low]


def _stroke(line: Line) -> dict[str, object]:
    dash = _DASHES[line.dash % len(_DASHES)]
    return {"class_": f"line stroke{line.colour}", "stroke_dasharray": dash}


def _mark(colour: int, x: str, y: float) -> Markup:
    shape = tag("path", d=_MARKS[colour % len(_MARKS)], class_=f"fill{colour}")
    return tag("svg", shape, x=x, y=y, overflow="visible", width=1, height=1)


def _asides(lines: Sequence[Line]) -> list[float]:
    """Return by how many pixels each line stands aside, so that intervals do not hide others."""
    spread = any(p.low is not None for line in lines for p in line.points)
    return [_ASIDE * spread * (i - (len(lines) - 1) / 2) for i in range(len(lines))]


def _line(frame: _Frame, line: Line, aside: float) -> Markup:
    # A drawing inside the drawing is stretched to the plot; its strokes keep their width.
    points = " ".join(
        f"{1000 * frame.along(p.x):.1f},{frame.height(p.y) - _TOP:.1f}" for p in line.points
    )
    path = tag(
        "svg",
        tag("polyline", points=points, vector_effect="non-scaling-stroke", **_stroke(line)),
        x=f"{_LEFT}%",
        y=_TOP,
        width=f"{_RIGHT - _LEFT}%",
        height=_HEIGHT,
        viewBox=f"0 0 1000 {_HEIGHT}",
        preserveAspectRatio="none",
        overflow="visible",
    )
    marks = []
    for p in line.points if line.marks else ():
        x = frame.place(p.x)
        if p.low is not None and p.high is not None:
            ends = {"y1": frame.height(p.low), "y2": frame.height(p.high)}
            marks.append(tag("line", x1=x, x2=x, **ends, class_=f"line stroke{line.colour}"))
        marks.append(_mark(line.colour, x, frame.height(p.y)))
    return tag("g", path, *marks, transform=f"translate({aside:g},0)" if aside else None)
