"""Tasks whose examples are drawn anew, count unequally or come several from a chain."""

import collections
import itertools

import numpy as np
import pytest

from t5distill import data, tasks  # noqa: F401 (registers)
from t5distill.data import inspect_batch
from t5distill.errors import UserError
from t5distill.formats import vocabulary
from t5distill.records import Problem, read_jsonl, write_jsonl

LONG = {"inputs": 1024, "targets": 192}


def epoch(task, count, **arguments):
    """Return the segments of the first batches, one example a row."""
    settings = {"lengths": LONG, "batch_size": 4, "seed": 3, "pack": False, **arguments}
    stream = data.stream_batches(data.resolve(task, "t5"), **settings)
    plain = vocabulary.load("t5")
    return [
        s for batch in itertools.islice(stream, count) for s in inspect_batch.segments(batch, plain)
    ]


@pytest.fixture(scope="module")
def curated(prepared, make_chain):
    """A teacher's chains: one to five of each of 40 problems."""
    problems = list(read_jsonl(Problem, prepared / "gsm8k/train.jsonl"))[:40]
    pairs = [(p, make_chain(p, sample=s)) for i, p in enumerate(problems) for s in range(1 + i % 5)]
    data.write_tfds("gsm8k_cot_robot", pairs)
    return problems


def shown(text):
    """Return the questions of the demonstrations, and the one that is asked."""
    questions = [part.partition("\nA:")[0][3:] for part in text.split("\n\n")]
    return questions[:-1], questions[-1]


@pytest.mark.parametrize("task", ["gsm8k_cot_in_context", "gsm8k_answer_in_context"])
def test_demonstrations_are_drawn_anew_and_never_the_query(prepared, task):
    asked = {p.question for p in read_jsonl(Problem, prepared / "gsm8k/train.jsonl")}
    seen = collections.defaultdict(list)
    for s in epoch(task, 30):
        demonstrations, question = shown(s.inputs)
        assert len(demonstrations) == len(set(demonstrations)) == 4
        assert question not in demonstrations and set(demonstrations) <= asked
        seen[question].append(tuple(demonstrations))
    again = [drawn for drawn in seen.values() if len(drawn) > 1]
    assert len(again) > 15 and all(len(set(drawn)) > 1 for drawn in again)


def test_the_same_seed_draws_the_same(prepared):
    first, again = (epoch("gsm8k_cot_in_context", 6) for _ in range(2))
    assert first == again != epoch("gsm8k_cot_in_context", 6, seed=4)
    # And a run that goes on draws what it would have drawn.
    assert epoch("gsm8k_cot_in_context", 3, start_step=3) == first[12:]


def test_evaluation_asks_a_problem_always_alike(prepared):
    runs = [
        {
            e["id"]: e["inputs_pretokenized"]
            for e in data.read_examples("gsm8k_cot_in_context", seed=s)
        }
        for s in (1, 2)
    ]
    assert runs[0] == runs[1] and len(runs[0]) == 25
    test = {p.question for p in read_jsonl(Problem, prepared / "gsm8k/test.jsonl")}
    for text in runs[0].values():
        demonstrations, _ = shown(text)
        assert len(demonstrations) == 4 and not test & set(demonstrations)


def test_what_the_driver_asks_is_what_the_task_asks(prepared):
    from t5distill.evaluate import sets
    from t5distill.formats import style

    [found] = sets.evaluation_sets("gsm8k_cot_in_context", "test")
    pool = found.pool()
    asked = {
        p.id: next(style("cot_in_context").converse(p, pool)).text
        for p in read_jsonl(Problem, found.problems_path)
    }
    read = data.read_examples("gsm8k_cot_in_context")
    assert asked == {e["id"]: e["inputs_pretokenized"] for e in read}


def test_too_many_demonstrations_are_cut_at_their_beginning(prepared):
    for s in epoch("gsm8k_cot_in_context", 3, lengths={"inputs": 64, "targets": 96}):
        assert s.inputs.endswith("A: Let's think step by step.") and len(s.input_tokens) == 64


def test_several_chains_in_one_target(curated):
    counts = collections.Counter()
    targets = collections.defaultdict(set)
    for s in epoch("gsm8k_divergent_robot", 40):
        question, _, wanted = s.inputs.rpartition("\nNumber of answers: ")
        chains = [line for line in s.targets.split("\n") if line.startswith("Answer ")]
        assert len(chains) == int(wanted) == len({c.split(": ", 1)[1] for c in chains})
        assert s.targets.split("\n")[-1].startswith("Final: The answer is ")
        counts[len(chains)] += 1
        targets[question].add(s.targets)
    assert set(counts) == {1, 2, 3, 4} and len(targets) > 30
    assert max(map(len, targets.values())) > 2, "no new order, no other number"


@pytest.mark.parametrize(
    ("style", "wanted"), [("cot_in_context", 1), ("divergent", 2), ("divergent_3", 3)]
)
def test_evaluation_compares_with_the_benchmarks_own_solution(prepared, style, wanted):
    """Else a validation loss would be of the bare answer, which such a student never writes."""
    plain = {e["id"]: e["targets_pretokenized"] for e in data.read_examples("gsm8k_cot")}
    for example in data.read_examples(f"gsm8k_{style}"):
        rationale, _, sentence = plain[example["id"]].rpartition(" The answer is ")
        assert rationale and example["targets_pretokenized"].count(rationale) == wanted
        assert example["targets_pretokenized"].endswith(f"The answer is {sentence}")
        if style != "cot_in_context":
            assert example["inputs_pretokenized"].endswith(f"Number of answers: {wanted}")


def test_a_fixed_number_of_chains(curated):
    for s in epoch("gsm8k_divergent_3_robot", 10):
        assert s.targets.count("Answer ") <= 3


@pytest.mark.parametrize("pack", [False, True])
def test_weights_survive_packing(curated, pack):
    found = epoch("gsm8k_step_by_step_30_robot", 10, pack=pack, repeat=False)
    kinds = collections.Counter()
    for s in found:
        kind = s.inputs.split(":")[0]
        kinds[kind] += 1
        assert np.allclose(s.weights, {"predict": 0.3, "explain": 0.7}[kind])
        assert ("The answer is" in s.targets) == (kind == "predict")
    if not pack:
        assert set(kinds) == {"predict", "explain"}


def test_weighted_batches_sum_to_what_their_examples_do(curated):
    totals = []
    for pack in (True, False):
        stream = data.stream_batches(
            data.resolve("gsm8k_step_by_step_30_robot", "t5"),
            **{"lengths": LONG, "batch_size": 4, "pack": pack, "repeat": False},
        )
        totals.append(sum(float(b["decoder_loss_weights"].sum()) for b in stream))
    assert totals[0] == pytest.approx(totals[1], rel=1e-6) and totals[0] > 100


def test_a_chain_gives_several_examples(prepared):
    examples = list(data.read_examples("gsm8k_sci_cot", split="train"))
    assert len(examples) == 120
    by_problem = collections.Counter(e["id"] for e in examples)
    assert set(by_problem.values()) == {2}


# One of each way from a chain to examples; the others differ in words only.
@pytest.mark.parametrize("style", ["answer", "cot", "sci_cot_answer", "answer_in_context"])
def test_a_teachers_set_serves_every_style_of_its_chains(prepared, curated, style):
    task = data.resolve(f"gsm8k_{style}_robot", "t5")
    found = epoch(task, 1, pack=True)
    assert found and all(s.targets for s in found)


def test_problems_of_one_benchmark_are_shown_what_was_curated_of_another(
    prepared, curated, make_problem
):
    """Fu et al. 2023 ask other sets' problems behind demonstrations of GSM8K."""
    others = [make_problem(i + 500, benchmark="multiarith", split="test") for i in range(5)]
    write_jsonl(prepared / "multiarith/test.jsonl", others)
    name = data.resolve("multiarith_cot_in_context_of_gsm8k_cot_robot", "t5")
    learnt = {p.question for p in curated}
    asked = set()
    for example in data.read_examples(name, split="test"):
        demonstrations, question = shown(example["inputs_pretokenized"])
        assert len(demonstrations) == 4 and set(demonstrations) <= learnt
        asked.add(question)
    assert asked == {p.question for p in others}
    with pytest.raises(UserError, match="no task"):
        data.resolve("multiarith_cot_in_context_of_gsm8k_cot_nobody", "t5")
