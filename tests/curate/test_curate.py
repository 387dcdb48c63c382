import collections
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest

from t5distill.__main__ import main
from t5distill.curate import staging
from t5distill.curate.choosing import choose
from t5distill.curate.curating import curate_set
from t5distill.curate.filtering import KEPT, NEGATIVE, Filter, Rules
from t5distill.errors import UserError
from t5distill.records import Chain, Problem, read_jsonl, write_jsonl

Q = "Tom has {0} red pens and {1} blue ones. How many?"


def problem(i, answer=None, solution=None, split="train", question=None):
    return Problem(
        id=f"p{i}",
        question=question or Q.format(i, 5),
        answer=answer or str(i + 5),
        kind="numeric",
        benchmark="toy",
        split=split,
        solution=solution,
    )


def chain(i, text, sample=0, teacher="somebody", style="cot", **meta):
    return Chain(
        problem_id=f"p{i}", style=style, text=text, teacher=teacher, sample=sample, meta=meta
    )


PROBLEMS = {f"p{i}": problem(i) for i in range(6)}
# One chain for each fate, and the reason that `curate` must give.
CHAINS = {
    "kept": chain(1, "1 + 5 = 6. The answer is 6.\n\nQ: There are 3 trees. How", 0),
    "duplicate": chain(1, "1 + 5 = 6! THE ANSWER is 6", 1),
    "near_duplicate": chain(1, "So 1 + 5 = 6. The answer is 6.", 2),
    "wrong": chain(1, "1 + 5 = 7. The answer is 7.", 3),
    "no_answer": chain(1, "Nobody knows.", 4),
    "truncated": chain(1, "1 + 5 = 6. So Tom has", 5, finish_reason="length"),
    "leak": chain(1, "As the answer is given, it is 6. 1 + 5 = 6. The answer is 6.", 6),
    "wrong_step": chain(1, "1 + 4 = 6. The answer is 6.", 7),
    "too_long": chain(1, "1 + 5 = 6. " + "Tom has red pens. " * 40 + "The answer is 6.", 8),
    "cap": chain(1, "There are 5 blue pens and 1 is red, which makes 6. The answer is 6.", 9),
    "overlap": chain(2, "2 + 5 = 7. The answer is 7.", 0),
    "overlap_near": chain(3, "3 + 5 = 8. The answer is 8.", 0),
}
EVALUATION = [
    problem(2, split="test", question=Q.format(2, 5).upper()),
    problem(3, split="test", question="Tom now has 3 red and 5 blue pens. How many?"),
]
RULES = Rules(lengths=(200, 200), vocab="byt5", per_problem=1)


def decide(chains, rules=RULES, evaluation=EVALUATION):
    by_problem = collections.defaultdict(list)
    for one in chains:
        by_problem[one.problem_id].append(one)
    found = Filter(rules, evaluation)
    return [
        d for name in sorted(by_problem) for d in found.decide(PROBLEMS[name], by_problem[name])
    ]


def test_each_reason():
    decided = decide(CHAINS.values())
    found = {(d.chain.problem_id, d.chain.sample): d for d in decided}
    for name, one in CHAINS.items():
        d = found[one.problem_id, one.sample]
        assert (d.chain.meta["reason"] if d.fate != KEPT else d.fate) == name, d
    kept = next(d.chain for d in decided if d.fate == KEPT)
    assert kept.text == "1 + 5 = 6. The answer is 6."
    assert kept.verdict == "correct" and kept.meta == {"cut": len("\n\nQ: There are 3 trees. How")}


def test_order_does_not_matter():
    chains = list(CHAINS.values())
    for seed in range(5):
        assert decide(random.Random(seed).sample(chains, len(chains))) == decide(chains)


def test_each_rule_can_be_left_out():
    loose = Rules(keep_wrong_steps=True, near=2.0)
    reasons = {d.chain.meta.get("reason") for d in decide(CHAINS.values(), loose, [])}
    left = {"duplicate", "wrong", "no_answer", "truncated", "leak"}
    assert reasons == {None, *left}


def test_wrong_chains_as_negatives():
    wrong = [chain(1, f"1 + 5 = {n}. The answer is {n}.", n) for n in (7, 8, 9)]
    again = chain(1, "1 + 5 = 7. The answer is 7", 10)
    rules = Rules(negatives=True, per_problem=2)
    fates = [(d.fate, d.chain.meta.get("reason")) for d in decide([*wrong, again], rules, [])]
    assert fates == [
        (NEGATIVE, None),
        (NEGATIVE, None),
        ("rejected", "cap"),
        ("rejected", "duplicate"),
    ]


def test_wrong_chains_can_be_kept():
    decided = Filter(Rules(keep_wrong=True)).decide(
        PROBLEMS["p1"], [CHAINS[name] for name in ("kept", "wrong", "no_answer", "wrong_step")]
    )
    assert [(d.fate, d.chain.verdict, d.chain.meta.get("reason")) for d in decided] == [
        (KEPT, "correct", None),
        (KEPT, "wrong", None),
        ("rejected", "no_answer", "no_answer"),
        ("rejected", "correct", "wrong_step"),
    ]
    with pytest.raises(UserError, match="either kept or negatives"):
        Rules(keep_wrong=True, negatives=True)


def test_shares_of_the_problems_lie_in_each_other_beside_the_whole(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("T5DISTILL_DATA_DIR", str(tmp_path))
    write_jsonl(tmp_path / "train.jsonl", [problem(i) for i in range(400)])
    texts = [chain(i, f"{i} + 5 = {i + 5}. The answer is {i + 5}.") for i in range(400)]
    write_jsonl(tmp_path / "chains.jsonl", texts)
    command = ["curate", "--problems", str(tmp_path / "train.jsonl")]
    command += ["--chains", str(tmp_path / "chains.jsonl")]
    kept = {}
    for name, options in {
        "somebody": [],
        "half": ["--share", "0.5", "--name", "half"],
        "tenth": ["--share", "0.1", "--name", "tenth"],
        "other": ["--share", "0.1", "--seed", "1", "--name", "other"],
    }.items():
        assert main([*command, *options]) == 0
        found = tmp_path / f"chains/toy_cot_{name}"
        kept[name] = {c.problem_id for c in read_jsonl(Chain, found / "kept.jsonl")}
        assert json.loads((found / "curation.json").read_text())["kept"] == len(kept[name])
        assert (tmp_path / f"tfds/toy_cot_{name}/1.0.0/manifest.json").is_file()
    assert len(kept["somebody"]) == 400
    # Binomial: five standard deviations to either side.
    assert 150 < len(kept["half"]) < 250 and 10 < len(kept["tenth"]) < 70
    assert kept["tenth"] < kept["half"] < kept["somebody"] and kept["other"] != kept["tenth"]
    assert main([*command, "--share", "0"]) == 2
    assert "wanted more than 0" in capsys.readouterr().err


def test_log_probabilities_are_cut_with_their_text():
    words = [
        "1",
        " +",
        " 5",
        " =",
        " 6",
        ".",
        " The",
        " answer",
        " is",
        " 6",
        ".",
        "\n\n",
        "Q:",
        " x",
    ]
    tokens = [{"text": word, "top": [[word, -0.1]]} for word in words]
    [decided] = decide([chain(1, "".join(words), tokens=tokens)])
    assert [t["text"] for t in decided.chain.meta["tokens"]] == words[:11]


@pytest.mark.parametrize("tokens", [None, 5, ["a"], [{"t": 1}], [{"text": 5}], []])
def test_tokens_of_another_form_go_with_the_text_they_belonged_to(tokens):
    [decided] = decide([chain(1, "1 + 5 = 6. The answer is 6.\n\nQ: And?", tokens=tokens)])
    assert decided.chain.meta == {"cut": len("\n\nQ: And?")}


def test_what_an_earlier_curation_said_is_forgotten():
    before = chain(1, "1 + 5 = 6. The answer is 6.", reason="cap", detail="old", cut=3, mine=1)
    [decided] = decide([before])
    assert decided.fate == KEPT and decided.chain.meta == {"mine": 1}


def test_a_chain_that_is_verified_by_half_is_not_kept():
    """The judge reads up to the question in its middle, and would find 6."""
    text = "First 1 + 5 = 6.\nQuestion: what if he loses one?\n6 - 1 = 5. The answer is 5."
    [decided] = decide([chain(1, text)])
    assert decided.chain.meta["reason"] == "no_answer"


def test_how_chains_are_chosen():
    texts = [
        "1 + 5 = 6. The answer is 6.",
        "1 + 5 = 6. So the answer is 6.",
        "Red pens and blue pens are 6 together. The answer is 6.",
        "1 + 5 = 6 pens. The answer is 6.",
    ]
    chains = [chain(1, text, i) for i, text in enumerate(texts)]
    assert choose(chains, 2, how="first", seed=0) == {0, 1}
    assert choose(chains, 2, how="diverse", seed=0) == {0, 2}
    drawn = [tuple(sorted(choose(chains, 2, how="random", seed=s))) for s in range(200)]
    counts = collections.Counter(drawn)
    assert len(counts) == 6 and min(counts.values()) > 15
    assert drawn == [tuple(sorted(choose(chains, 2, how="random", seed=s))) for s in range(200)]


def test_a_chain_of_an_unknown_problem_is_refused():
    with pytest.raises(UserError, match="'p9', which is in none"):
        curate_set(PROBLEMS, [chain(9, "5")])


def files(tmp_path, monkeypatch, problems, chains):
    monkeypatch.setenv("T5DISTILL_DATA_DIR", str(tmp_path / "data"))
    write_jsonl(tmp_path / "problems.jsonl", problems)
    write_jsonl(tmp_path / "chains.jsonl", chains)
    return ["curate", "--problems", str(tmp_path / "problems.jsonl")]


def test_the_command_writes_lists_counts_and_a_set(tmp_path, monkeypatch, capsys):
    command = files(tmp_path, monkeypatch, PROBLEMS.values(), CHAINS.values())
    # The evaluation split is found where `prepare` puts it.
    write_jsonl(tmp_path / "data/toy/test.jsonl", EVALUATION)
    (tmp_path / "data/other").mkdir()
    (tmp_path / "data/other/test.jsonl").write_text('{"no": "problem"}\n')
    options = ["--per-problem", "1", "--lengths", "200", "200", "--vocab", "byt5", "--negatives"]
    assert main([*command, "--chains", str(tmp_path / "chains.jsonl"), *options]) == 0
    out = tmp_path / "data/chains/toy_cot_somebody"
    kept = list(read_jsonl(Chain, out / "kept.jsonl"))
    rejected = list(read_jsonl(Chain, out / "rejected.jsonl"))
    negatives = list(read_jsonl(Chain, out / "negatives.jsonl"))
    report = json.loads((out / "curation.json").read_text())
    reasons = collections.Counter(c.meta["reason"] for c in rejected)
    assert reasons == {name: 1 for name in CHAINS if name not in ("kept", "wrong")}
    assert report["rejected"] == reasons
    assert (len(kept), len(negatives)) == (report["kept"], report["negatives"]) == (1, 1)
    assert report["in"] == len(CHAINS) == 1 + 1 + sum(report["rejected"].values())
    assert [file["problems"] for file in report["against"]] == [2]
    told = capsys.readouterr().out
    assert "not compared with" in told and "other/test.jsonl" in told
    assert "compared with 2 evaluation problems of 1 files" in told
    assert (tmp_path / "data/tfds/toy_cot_somebody/1.0.0/manifest.json").is_file()


def test_gold_solutions_are_chains_too(tmp_path, monkeypatch):
    problems = [problem(0, "5", solution="2 + 3 = <<2+3=5>>5\n#### 5"), problem(1)]
    command = files(tmp_path, monkeypatch, problems, [])
    assert main([*command, "--gold", "cot"]) == 0
    kept = list(read_jsonl(Chain, tmp_path / "data/chains/toy_cot_gold/kept.jsonl"))
    assert [c.teacher for c in kept] == ["gold"]


@pytest.mark.parametrize(
    ("chains", "options", "says"),
    [
        ([], [], "no chains"),
        ([chain(1, "6"), chain(2, "7", teacher="other")], [], "several teachers, e.g. somebody"),
        ([chain(1, "6"), chain(2, "7", style="answer")], [], "several styles"),
        ([chain(1, "7")], [], "none of 1 chains was kept ({'wrong': 1})"),
        ([chain(1, "6")], ["--choose", "best"], "first, random"),
        ([chain(1, "6")], ["--per-problem", "0"], "at least 1"),
        ([chain(1, "6")], ["--workers", "-1"], "at least 1"),
        ([chain(1, "6")], ["--near-duplicates", "nan"], "wanted a share above 0"),
        ([chain(1, "6")], ["--teacher", "nobody"], "with --teacher nobody"),
        ([chain(1, "6", 10**30)], [], "no number of this world"),
        ([chain(1, "6")], ["--against", "nowhere.jsonl"], "no such file"),
        ([chain(1, "6")], ["--lengths", "64", "64", "--vocab", "latin"], "'latin'"),
        ([chain(1, "6 \ud800")], [], "chains.jsonl:1"),
    ],
)
def test_sets_that_cannot_be_made_are_refused(tmp_path, monkeypatch, capsys, chains, options, says):
    command = files(tmp_path, monkeypatch, PROBLEMS.values(), [])
    (tmp_path / "chains.jsonl").write_text(
        "".join(
            json.dumps({k: v for k, v in vars(c).items() if k != "extra"}) + "\n" for c in chains
        )
    )
    assert main([*command, "--chains", str(tmp_path / "chains.jsonl"), *options]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "data/tfds").exists()


def many(problems, samples):
    """Chains of which a known share is wrong or said twice."""
    rng = random.Random(0)
    for i in range(problems):
        for sample in range(samples):
            value = i + 5 + (rng.random() < 0.2)
            words = " ".join(rng.choices(["pens", "red", "blue", "boxes", "Tom"], k=6))
            yield chain(i, f"We count {words}. {i} + 5 = {value}. The answer is {value}.", sample)


def test_any_order_and_any_number_of_processes_give_the_same_files(tmp_path, monkeypatch):
    monkeypatch.setenv("T5DISTILL_DATA_DIR", str(tmp_path / "data"))
    problems = {f"p{i}": problem(i) for i in range(1500)}
    chains = list(many(1500, 4))
    contents = []
    for workers, seed in ((1, 0), (2, 1)):
        out = tmp_path / str(workers)
        random.Random(seed).shuffle(chains)
        report, _ = curate_set(problems, iter(chains), out=out, workers=workers)
        assert report["in"] == 6000 == report["kept"] + sum(report["rejected"].values())
        assert report["verdicts"]["wrong"] == report["rejected"]["wrong"]
        names = ("kept.jsonl", "rejected.jsonl", "curation.json")
        contents.append([(out / name).read_bytes() for name in names])
        assert sorted(p.name for p in out.iterdir()) == sorted(names)
    assert contents[0] == contents[1]


def test_a_killed_run_damages_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(staging, "_JUST_MADE_S", 0.0)
    problems = {f"p{i}": problem(i) for i in range(1500)}
    command = files(tmp_path, monkeypatch, problems.values(), many(1500, 1))
    command += ["--chains", str(tmp_path / "chains.jsonl")]
    assert main(command) == 0
    out = tmp_path / "data/chains/toy_cot_somebody"
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    manifest = tmp_path / "data/tfds/toy_cot_somebody/1.0.0/manifest.json"
    set_before = manifest.read_bytes()
    write_jsonl(tmp_path / "chains.jsonl", many(1500, 8))
    process = subprocess.Popen(
        [sys.executable, "-m", "t5distill", *command, "--workers", "1"], start_new_session=True
    )
    while not list(out.glob(".curate.*/.kept.jsonl.*")) and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert {p.name: p.read_bytes() for p in out.iterdir() if p.is_file()} == before
    assert manifest.read_bytes() == set_before
    assert [p for p in out.iterdir() if p.is_dir()]
    assert main(command) == 0
    assert sorted(p.name for p in out.iterdir()) == sorted(before)
    assert json.loads((out / "curation.json").read_text())["in"] == 12_000


def test_workers_end_with_a_killed_parent(tmp_path, monkeypatch):
    problems = {f"p{i}": problem(i) for i in range(1500)}
    command = files(tmp_path, monkeypatch, problems.values(), many(1500, 8))
    command += ["--chains", str(tmp_path / "chains.jsonl"), "--workers", "2"]
    process = subprocess.Popen([sys.executable, "-m", "t5distill", *command])
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
    found = []
    while process.poll() is None and len(found) < 3:
        found = children.read_text().split()
        time.sleep(0.01)
    assert len(found) == 3, "it ended before it had its workers and their tracker"
    process.kill()
    process.wait()
    patience = time.monotonic() + 60
    while (left := [i for i in found if pathlib.Path(f"/proc/{i}").exists()]) and (
        time.monotonic() < patience
    ):
        time.sleep(0.05)
    assert not left


def test_no_chain_kept_leaves_the_earlier_set(tmp_path, monkeypatch, capsys):
    command = files(tmp_path, monkeypatch, PROBLEMS.values(), [CHAINS["kept"]])
    command += ["--chains", str(tmp_path / "chains.jsonl")]
    assert main(command) == 0
    out = tmp_path / "data/chains/toy_cot_somebody"
    write_jsonl(tmp_path / "chains.jsonl", [CHAINS["wrong"]])
    assert main(command) == 2
    assert len(list(read_jsonl(Chain, out / "kept.jsonl"))) == 1
    assert json.loads((out / "curation.json").read_text())["kept"] == 1
    [left] = read_jsonl(Chain, out / "none_kept/rejected.jsonl")
    assert left.meta["reason"] == "wrong"
