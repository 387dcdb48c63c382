"""Solves fuzzed and hostile texts in a process that watches what the calls do.

Run as a script with a number of texts and a seed; prints what it saw as JSON. An audit hook cannot
be taken out again, so this is a process of its own.
"""

from __future__ import annotations

import builtins
import json
import pathlib
import random
import sys

from t5distill.verify import solve_equations
from t5distill.verify.equations import solving
from t5distill.verify.outcomes import STATUSES, Outcome

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "equations.jsonl"
CASES = [json.loads(line)["text"] for line in GOLDEN.read_text(encoding="utf-8").splitlines()]
PIECES = [
    *"xyzEINSOQC0123456789+-*/^=()[]{}.,;:%$#!&|<>~@'\"\\_ \n\t`?",
    *("ans", "answer", " = ", "==", "**", "//", ":=", "\n", " and ", "x1", "x_1", "1,000", "0.5"),
    *("\\frac{", "\\times", "\\cdot", "\\\\", "\\sqrt{", "½", "²", "×", "÷", "−", "–", "√", "π"),
    *("аns", "х", "𝑥", "ａ", "\u200b", "\u202e", "\ud800", "\x00", "٣", "Ⅷ", "ﬁ", "İ"),
    *("lambda", "__import__", "eval(", "S('", "f'{", "9**9", "!", "factorial(", "oo", "nan"),
    *("of", "times", "sqrt", "percent", "dollars", " per hour", " km/h", "million", "Answer:"),
]
# What is done to a canary, as code of every sort that an evaluator may run.
_TOUCHES = (
    "canary()",
    "__import__('builtins').canary()",
    "eval('canary()')",
    "exec('canary()')",
    "(lambda: canary())()",
    "f'{canary()}'",
    "[canary() for _ in (1,)][0]",
    "(c := canary())",
    "canary.__call__()",
    "getattr(__builtins__, 'canary')()",
    "().__class__.__base__.__subclasses__()[0]",
    "open('canary', 'w')",
    "__import__('os').system('touch canary')",
    "S('canary()')",
    "sympify('canary()')",
    "parse_expr('canary()')",
    "Symbol('x').__class__.__init__.__globals__['canary']()",
    "Function('canary')(1)",
    "lambdify([], 'canary()')()",
    "Integer(canary())",
    "саnаry()",
    "ｃａｎａｒｙ()",
    "canary\u200b()",
    "{{canary()}}",
    "\\text{canary()}",
)
_PLACES = ("ans = {}", "{} = 5\nans = 5", "x = 3\nans = x + {}", "Answer: {}")
INJECTIONS = [place.replace("{}", touch) for touch in _TOUCHES for place in _PLACES]


def fuzzed(rng: random.Random) -> str:
    """Return a random text: of signs, of a changed case, or of two cases run together."""
    kind = rng.randrange(3)
    if kind == 0:
        return "".join(rng.choices(PIECES, k=rng.randint(0, 60)))
    text = rng.choice(CASES)
    if kind == 1:
        for _ in range(rng.randint(1, 6)):
            at = rng.randint(0, len(text))
            text = text[:at] + rng.choice(PIECES) + text[at + rng.randint(0, 2) :]
        return text
    other = rng.choice(CASES)
    return text[: rng.randint(0, len(text))] + rng.choice(PIECES) + other[rng.randint(0, 9) :]


def main(count: int, seed: int) -> None:
    """Solve injections and `count` fuzzed texts, and print what was seen."""
    touched: list[str] = []
    vars(builtins)["canary"] = lambda *_: touched.append("canary") or 5
    requests: list[str] = []

    def apart(request: dict, **_) -> Outcome:
        requests.append(json.dumps(request))
        return Outcome(status="error", detail="not solved here")

    solving._in_sandbox = apart
    solve_equations("x^2 = 4\nans = x")
    events: list[str] = []
    watching = [False]
    sys.addaudithook(lambda event, _: events.append(event) if watching[0] else None)
    rng = random.Random(seed)
    texts = [*INJECTIONS, *(fuzzed(rng) for _ in range(count))]
    statuses: dict[str, int] = dict.fromkeys(STATUSES, 0)
    values = {}
    crashes = []
    for text in texts:
        watching[0] = True
        try:
            outcome = solve_equations(text)
        except Exception as crash:
            watching[0] = False
            crashes.append([text, repr(crash)])
            continue
        watching[0] = False
        statuses[outcome.status] += 1
        if outcome.status == "value" and text in INJECTIONS:
            values[text] = outcome.value
    seen = {
        "texts": len(texts),
        "injections": len(INJECTIONS),
        "statuses": statuses,
        "requests": len(requests),
        "values_of_injections": values,
        "crashes": crashes[:5],
        "events": sorted(set(events)),
        "touched": touched,
    }
    print(json.dumps(seen))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
