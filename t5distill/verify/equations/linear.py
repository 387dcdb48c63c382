"""Linear systems, solved exactly one equation at a time."""

from __future__ import annotations

from fractions import Fraction

from t5distill.verify.equations.polynomials import Polynomial, Work


class Linear:
    """A consistent system in reduced row echelon form.

    Attributes:
      solved: what each dependent unknown is in terms of the free ones.
      consistent: whether every equation so far can hold.
    """

    def __init__(self, work: Work):
        self.solved: dict[str, Polynomial] = {}
        self.consistent = True
        self._work = work
        # For each free unknown, the dependent ones whose rows hold it.
        self._rows: dict[str, set[str]] = {}

    def substitute(self, polynomial: Polynomial) -> Polynomial:
        """Return a polynomial of degree one in the free unknowns."""
        result: Polynomial = {}
        for monomial, coefficient in polynomial.items():
            row = self.solved.get(monomial[0]) if monomial else None
            self._add(result, {monomial: Fraction(1)} if row is None else row, coefficient)
        return result

    def add(self, polynomial: Polynomial) -> set[str]:
        """Add the equation "this polynomial of degree one is zero".

        Returns:
          the unknowns whose value in terms of the free ones is new or another.
        """
        row = self.substitute(polynomial)
        unknowns = [m for m in row if m]
        if not unknowns:
            self.consistent = self.consistent and not row
            return set()
        # The unknown that the fewest rows hold keeps the elimination sparse.
        pivot = min(unknowns, key=lambda m: len(self._rows.get(m[0], ())))
        factor = -1 / row.pop(pivot)
        value = {m: c * factor for m, c in row.items()}
        name = pivot[0]
        changed = self._rows.pop(name, set())
        for other in changed:
            coefficient = self.solved[other].pop(pivot)
            self._add(self.solved[other], value, coefficient)
        self.solved[name] = value
        for dependent in (name, *changed):
            for monomial in value:
                if monomial and monomial in self.solved[dependent]:
                    self._rows.setdefault(monomial[0], set()).add(dependent)
                elif monomial:
                    self._rows.get(monomial[0], set()).discard(dependent)
        return {name, *changed}

    def _add(self, target: Polynomial, row: Polynomial, factor: Fraction) -> None:
        for monomial, coefficient in row.items():
            value = target.get(monomial, 0) + coefficient * factor
            self._work.spend(1, value)
            if value:
                target[monomial] = value
            else:
                del target[monomial]
