"""`t5distill quickstart`: the whole corridor on embedded problems, with no key and no download.

Every stage is the command that a user would type: it is printed, then run. The chains come from a
server on this machine, asked as any teacher is asked. Two tiny students get the same problems, the
same number of optimizer steps and the same batch size; one sees only answers, the other sees the
steps that lead to them.
"""

from __future__ import annotations

import argparse
import itertools
import pathlib
import sys
import time
from typing import TYPE_CHECKING, Any

from t5distill.reproduce import running

if TYPE_CHECKING:
    from t5distill.reproduce.running import Stages

HELP = "Make problems, verify chains, train two tiny students, score them: minutes on 2 cores."
EXAMPLE = "t5distill quickstart --workdir runs/quickstart"

TEACHER = "simulated"
LABELS = {
    "untrained": "untrained",
    "answer": "taught answers only",
    "cot": "taught chains of thought",
}
ARMS = tuple(LABELS)
BENCHMARKS = ("embedded", "embedded_held_out")
# Train, validation, test, templates never seen; few of the last three, to leave time to train.
SIZES = (30_000, 500, 600, 100)
VOCAB_SIZE = 900


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--workdir",
        required=True,
        metavar="DIR",
        help="where everything goes; the same command again goes on from what is there",
    )
    parser.add_argument("--seed", type=int, default=0, help="of problems and training (0)")
    parser.add_argument(
        "--train-steps",
        type=int,
        metavar="N",
        help="optimizer steps of each student (as the recipe)",
    )
    parser.add_argument(
        "--sizes",
        type=int,
        nargs=4,
        default=SIZES,
        metavar=("TRAIN", "VALIDATION", "TEST", "HELD_OUT"),
        help=f"how many problems ({' '.join(map(str, SIZES))})",
    )
    parser.add_argument(
        "--wrong-rate",
        type=float,
        default=0.2,
        metavar="P",
        help="share of the teacher's chains that go wrong (0.2)",
    )
    parser.add_argument(
        "--malformed-rate",
        type=float,
        default=0.05,
        metavar="P",
        help="share that is cut off, has no answer mark, runs on or leaks the answer (0.05)",
    )


def run(args: argparse.Namespace) -> int:
    """Run every stage, then tell what was learnt; return 1 where the teacher was not done."""
    from t5distill import places
    from t5distill.errors import UserError

    for name in ("wrong_rate", "malformed_rate"):
        if not 0.0 <= getattr(args, name) < 1.0:
            flag = name.replace("_", "-")
            raise UserError(f"--{flag} is {getattr(args, name)}, wanted a share in [0, 1)")
    if min(args.sizes) < 1 or (args.train_steps is not None and args.train_steps < 1):
        raise UserError("wanted --sizes and --train-steps of at least 1")
    if places.is_remote(args.workdir):
        raise UserError(f"--workdir {args.workdir}: wanted a folder on this machine")
    _check_packages()
    work = pathlib.Path(args.workdir).resolve()
    _claim(work, args)
    with running.exported("T5DISTILL_DATA_DIR", work / "data"):
        return _stages(work, args)


def _stages(work: pathlib.Path, args: argparse.Namespace) -> int:
    """Run every stage; return as `run`."""
    from t5distill.records import write_json

    stages = running.Stages()
    with stages("prepare"):
        sizes = [str(n) for n in args.sizes]
        running.command("prepare", "embedded", "--seed", str(args.seed), "--sizes", *sizes)
    train_file, ledger = str(work / "data/embedded/train.jsonl"), str(work / "ledger.db")
    with stages("teacher"):
        if not _ask_teacher(train_file, ledger, args):
            # The reason stands above: Ctrl-C, or a server that failed.
            print(
                f"t5distill quickstart: stopped before every chain was there; those that came are "
                f"kept in {ledger}, and the same command goes on",
                file=sys.stderr,
            )
            return 1
        running.command("ledger", "show", ledger)
    with stages("curate"):
        running.command("curate", "--problems", train_file, "--ledger", ledger)
    with stages("vocabulary"):
        vocabulary = _vocabulary(work)
    for arm in ARMS:
        with stages(f"train {arm}"):
            _train(work, arm, vocabulary, args)
        with stages(f"infer and score {arm}"):
            for benchmark in BENCHMARKS:
                _infer_and_score(work, arm, benchmark, vocabulary)
    summary = _summary(work, stages)
    write_json(work / "summary.json", summary)
    with stages("report"):
        _report(work, args)
    print(_told(work, summary))
    return 0


def _check_packages() -> None:
    """Say what is missing for the teacher before anything else is done."""
    import importlib.util

    from t5distill.errors import UserError

    missing = [name for name in ("openai", "h11") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"the quickstart asks its teacher over HTTP and found no {' and no '.join(missing)}; "
            "install t5distill's extra 'teacher', in the project's folder: pip install '.[teacher]'"
        )


def _claim(work: pathlib.Path, args: argparse.Namespace) -> None:
    """Write the options into the folder; refuse one that was begun with others.

    Students of other problems or another vocabulary would be taken for this run's.
    """
    import json

    from t5distill.errors import UserError
    from t5distill.records import write_json

    names = ("seed", "wrong_rate", "malformed_rate", "train_steps")
    options = {"sizes": list(args.sizes), **{name: getattr(args, name) for name in names}}
    path = work / "options.json"
    if path.is_file() and (found := json.loads(path.read_text())) != options:
        raise UserError(
            f"{work}: begun with {found}, now asked for {options}; wanted the same options, or "
            "another --workdir"
        )
    write_json(path, options)


def _ask_teacher(problems: str, ledger: str, args: argparse.Namespace) -> bool:
    """Ask a stand-in for a large model for what is missing; return whether all of it came."""
    from t5distill.teacher.loopback import LoopbackProcess

    teacher = LoopbackProcess(
        problems,
        model="embedded",
        seed=args.seed,
        wrong_rate=args.wrong_rate,
        malformed_rate=args.malformed_rate,
    )
    with teacher:
        print(
            f"\n$ {running.typed(teacher.command)} &\n"
            f"the simulated teacher listens on {teacher.url} for the length of this stage",
        )
        code = running.run(
            *("generate", "--problems", problems, "--teacher", f"embedded@{teacher.url}"),
            *("--name", TEACHER, "--style", "cot", "--temperature", "0", "--ledger", ledger),
        )
    return code == 0


def _vocabulary(work: pathlib.Path) -> pathlib.Path:
    """Train a small vocabulary on the training split's texts, which no download is needed for."""
    from t5distill import formats
    from t5distill.formats import train_vocabulary
    from t5distill.records import Problem, read_jsonl

    problems = itertools.islice(read_jsonl(Problem, work / "data/embedded/train.jsonl"), 4000)
    chains = (("cot", p, formats.gold_chain(p, style="cot")) for p in problems)
    path = work / "vocabulary.model"
    count = train_vocabulary.of_examples(chains, path, vocab_size=VOCAB_SIZE)
    print(f"\nvocabulary: {path}, from {count} training problems")
    return path


def gin_arguments(run_file: str, recipe: str, vocabulary: pathlib.Path, **macros: Any) -> list[str]:
    """Return the arguments of a gin command for the tiny model."""
    files = (f"runs/{run_file}.gin", "models/tiny.gin", f"recipes/{recipe}.gin")
    bindings = running.bindings({"VOCAB_PATH": str(vocabulary), **macros})
    return [*(f"--gin_file=gin/{f}" for f in files), *bindings]


def _style(arm: str) -> str:
    return "answer" if arm == "answer" else "cot"


def _recipe(arm: str) -> str:
    return f"quickstart_{_style(arm)}"


def _train(
    work: pathlib.Path, arm: str, vocabulary: pathlib.Path, args: argparse.Namespace
) -> None:
    """Train one arm; the untrained one is saved before its first step."""
    from t5distill.reproduce.students import macros_of

    macros: dict[str, Any] = {"MODEL_DIR": str(work / arm), "RANDOM_SEED": args.seed}
    if arm == "untrained":
        macros |= {"TRAIN_STEPS": 0, "WARMUP_STEPS": 0}
    elif args.train_steps is not None:
        warmup = macros_of([f"gin/recipes/{_recipe(arm)}.gin"])["WARMUP_STEPS"]
        macros |= {"TRAIN_STEPS": args.train_steps, "WARMUP_STEPS": min(warmup, args.train_steps)}
    running.command("train", *gin_arguments("train", _recipe(arm), vocabulary, **macros))


def _infer_and_score(
    work: pathlib.Path, arm: str, benchmark: str, vocabulary: pathlib.Path
) -> None:
    """Decode and score one arm on one test split."""
    style = _style(arm)
    out = work / arm / benchmark
    task = f"{benchmark}_{style}" + (f"_{TEACHER}" if benchmark == "embedded" else "")
    macros = {
        "CHECKPOINT_PATH": str(work / arm),
        "EVAL_MIXTURE_OR_TASK_NAME": task,
        "INFER_OUTPUT_DIR": str(out),
    }
    running.command("infer", *gin_arguments("infer", _recipe(arm), vocabulary, **macros))
    running.command(
        "score",
        *("--problems", str(work / f"data/{benchmark}/test.jsonl")),
        *("--predictions", str(out / f"{task}-test.jsonl"), "--out", str(out)),
    )


def _summary(work: pathlib.Path, stages: Stages) -> dict[str, Any]:
    """Return the content of summary.json."""
    import json

    from t5distill.evaluate import scoring
    from t5distill.records import Verdict, read_jsonl
    from t5distill.reproduce.card import training_of

    def scores(arm: str, benchmark: str) -> dict[str, Any]:
        found = json.loads((work / arm / benchmark / "scores.json").read_text())
        return {k: found[k] for k in ("accuracy", "low", "high", "n")}

    verdicts = {
        arm: list(read_jsonl(Verdict, work / arm / "embedded/verdicts.jsonl")) for arm in ARMS
    }
    curation = next((work / "data/chains").glob("*/curation.json"))
    return {
        "arms": {arm: scores(arm, "embedded") for arm in ARMS},
        "held_out_templates": {arm: scores(arm, "embedded_held_out") for arm in ARMS},
        "cot_minus_answer": scoring.compare(verdicts["cot"], verdicts["answer"]),
        "curation": json.loads(curation.read_text()),
        "training": {arm: training_of(work / arm) for arm in ARMS if arm != "untrained"},
        "wall_s": round(time.perf_counter() - stages.begin, 1),
        "stages": stages.seconds,
    }


def _report(work: pathlib.Path, args: argparse.Namespace) -> None:
    """Write the students' cards, what was compared, and the page that shows it."""
    from t5distill.records import write_json
    from t5distill.reproduce import card
    from t5distill.reproduce.experiment import ROLES

    spend = card.spent(work / "ledger.db")
    for arm in ARMS:
        card.write(
            work / arm,
            arms=[arm],
            styles=[_style(arm)],
            seed=args.seed,
            recipe="quickstart",
            sets=[f"embedded_cot_{TEACHER}"],
            benchmark="embedded",
            data=work / "data",
            spend=spend,
        )
    rows = [
        {"name": arm, "label": label, "role": role, "style": _style(arm), "x": None}
        | {"students": [[arm]], "results": [arm]}
        for (arm, label), role in zip(LABELS.items(), ROLES, strict=True)
    ]
    experiment = {
        "recipe": "quickstart",
        "title": "The quickstart: chains of thought of a simulated teacher",
        "question": "Does a tiny T5 that learns a teacher's chains of thought solve more word "
        "problems than one that learns their answers?",
        "source": "",
        "tiny": True,
        "benchmark": "embedded",
        "tests": list(BENCHMARKS),
        "seeds": [args.seed],
        "data": "data",
        "teacher": TEACHER,
        "arms": rows,
        "baseline": "answer",
        "main": "cot",
        "sweep": None,
        "published": [],
    }
    write_json(work / "experiment.json", experiment)
    running.command("report", str(work))


def _told(work: pathlib.Path, summary: dict[str, Any]) -> str:
    """Return the closing table and sentence."""
    kept, total = summary["curation"]["kept"], summary["curation"]["in"]
    lines = [
        "",
        f"{'student':<24}{'accuracy':>9}   {'95 % interval':<15}{'templates never seen':>22}",
    ]
    for arm, label in LABELS.items():
        a, held = summary["arms"][arm], summary["held_out_templates"][arm]
        interval = f"{100 * a['low']:.1f} to {100 * a['high']:.1f}"
        lines.append(
            f"{label:<24}{100 * a['accuracy']:>7.1f} %   {interval:<15}"
            f"{100 * held['accuracy']:>20.1f} %"
        )
    d = summary["cot_minus_answer"]
    lines += [
        "",
        f"{summary['arms']['cot']['n']} unseen problems; {kept} of {total} teacher chains passed "
        "verification.",
        f"Chains of thought against answers only: {100 * d['difference']:+.1f} points "
        f"(95 % interval {100 * d['low']:+.1f} to {100 * d['high']:+.1f}, paired).",
        "Both were taught the same problems for the same steps: "
        + ", ".join(
            f"{arm} {t['steps']} steps, {t['target_tokens']:,} target tokens, {t['seconds']:.0f} s"
            for arm, t in summary["training"].items()
        )
        + ".",
        _example(work),
        f"\n{summary['wall_s']:.0f} s in all; the figures are in {work / 'summary.json'}, "
        f"and to look at in {work / 'report.html'}",
    ]
    return "\n".join(lines)


def _example(work: pathlib.Path) -> str:
    """Return a problem with what the two trained students wrote."""
    from t5distill.evaluate import scoring
    from t5distill.records import Problem, Verdict, read_jsonl

    verdicts = read_jsonl(Verdict, work / "cot/embedded/verdicts.jsonl")
    shown = next((v.problem_id for v in verdicts if v.outcome == "correct"), None)
    problems = read_jsonl(Problem, work / "data/embedded/test.jsonl")
    problem = next(p for p in problems if shown in (None, p.id))
    lines = [f"\n  question  {problem.question}  (gold: {problem.answer})"]
    for arm in ("answer", "cot"):
        path = work / arm / "embedded" / f"embedded_{arm}_{TEACHER}-test.jsonl"
        text = next(p.text for p in scoring.read_predictions(path) if p.problem_id == problem.id)
        lines.append(f"  {arm:<8}  {text}")
    return "\n".join(lines)
