"""Words after a number that are an unknown too: `eggs = 16 eggs`, `time = 2 hours`, `age = 2 age`.

As products these would say that there are no eggs, so the word is a unit where nothing else makes
sense, and the text is rejected where either reading does.
"""

from __future__ import annotations

from collections.abc import Iterator, Set

from t5distill.verify.equations import units
from t5distill.verify.equations.grammar import EquationProblem, Tree, parse
from t5distill.verify.tokens import Token


def scopes(statements: list[list[Token]], alone: Set[str]) -> tuple[list[Set[str]], set[str]]:
    """Return of each statement the names that are unknowns in it, even after a number.

    Args:
      statements: tokens of each equation.
      alone: the names that are unknowns somewhere, see `units.standing_alone`.

    Returns:
      these, and the names that are units as well.

    Raises:
      EquationProblem: a word may be a unit or an unknown.
    """
    found: list[Set[str]] = []
    both: set[str] = set()
    suspects: set[tuple[str, str]] = set()
    graph: dict[str, set[str]] = {}
    for tokens in statements:
        sides = units.sides_of(tokens)
        lone = [s[0].text for s in sides if len(s) == 1 and s[0].kind == "name"]
        measured = set(_after_numbers(tokens))
        own = next((name for name in lone if name in measured), None)
        found.append(_without(own, tokens, alone) if own else alone)
        if own:
            both.add(own)
        elif measured:
            for side in sides:
                _check_side(side, alone)
            suspects |= {(name, unit) for name in lone for unit in measured & alone}
        if lone:
            names = {t.text for t in tokens if t.kind == "name"}
            graph.setdefault(lone[0], set()).update(names)
    for name, unit in suspects:
        if _depends(graph, unit, name):
            raise EquationProblem(f"{unit!r} may be a unit or an unknown")
    return found, both


def _after_numbers(tokens: list[Token]) -> Iterator[str]:
    """Yield the words after numbers that may be a unit as well as an unknown."""
    after = False
    for token in tokens:
        if token.kind not in ("name", "word"):
            after = token.kind in units.AFTER
        elif after and units.may_be_unit(token.text):
            yield token.text


def _without(name: str, tokens: list[Token], alone: Set[str]) -> Set[str]:
    """Return the unknowns of an equation that sets a name to a number of itself: without it.

    `eggs = 16 eggs` would say that there are none, so these are sixteen; `age = 2 age - 10` may
    mean either.
    """
    others = alone - {name}
    rest = [
        s for s in units.sides_of(units.settled(tokens, others)) if [t.text for t in s] != [name]
    ]
    if any(t.text == name for side in rest for t in side):
        raise EquationProblem(f"{name!r} is an unknown and a unit")
    try:
        sides = parse(units.settled(tokens, alone))
    except EquationProblem:
        return others  # the name can only be a unit, as in "60 miles per hour"
    held = [side for side in sides if side != ("name", name) and _holds(side, name)]
    if not all(_is_multiple(side, name) for side in held):
        raise EquationProblem(f"{name!r} may be a unit or an unknown")
    return others


def _check_side(side: list[Token], alone: Set[str]) -> None:
    """Refuse "eggs - 7 eggs", where the second may be a unit."""
    measured = set(_after_numbers(side)) & alone
    if not measured:
        return
    for i, token in enumerate(side):
        before = side[i - 1] if i else None
        after = before is not None and before.kind in (*units.AFTER, "name", "word")
        if token.text in measured and not after:
            raise EquationProblem(f"{token.text!r} may be a unit or an unknown")


def _depends(graph: dict[str, set[str]], name: str, on: str) -> bool:
    """Tell whether what a name is set to depends on another."""
    seen, waiting = {name}, [name]
    while waiting:
        following = graph.get(waiting.pop(), set())
        if on in following:
            return True
        waiting += following - seen
        seen |= following
    return False


def _holds(tree: Tree, name: str) -> bool:
    if tree[0] in ("+", "*"):
        return any(_holds(part, name) for part in tree[1])
    if tree[0] in ("name", "num"):
        return tree == ("name", name)
    return any(_holds(part, name) for part in tree[1:])


def _is_multiple(tree: Tree, name: str) -> bool:
    """Tell whether an expression is zero where the name is."""
    if tree[0] == "+":
        return all(_is_multiple(part, name) for part in tree[1])
    if tree[0] == "*":
        return any(_is_multiple(part, name) for part in tree[1])
    if tree[0] == "negative":
        return _is_multiple(tree[1], name)
    return tree == ("name", name)
