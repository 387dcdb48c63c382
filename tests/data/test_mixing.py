"""What is said to have been seen of each task, against the batches themselves."""

import itertools

import pytest

from t5distill import data, tasks  # noqa: F401 (registers)
from t5distill.data import inspect_batch
from t5distill.data.mixing import Counted, composition
from t5distill.errors import UserError
from t5distill.formats import vocabulary

LENGTHS = {"inputs": 256, "targets": 96}


@pytest.mark.parametrize("pack", [True, False])
@pytest.mark.parametrize("seed", [0, 3])
def test_the_draws_are_those_of_the_batches(environment, pack, seed):
    name = data.resolve("gsm8k_cot+gsm8k_answer", "t5")
    stream = data.stream_batches(name, lengths=LENGTHS, batch_size=8, pack=pack, seed=seed)
    counted = Counted(stream)
    plain = vocabulary.load("t5")
    found = {"gsm8k_cot": 0, "gsm8k_answer": 0}
    for batch in itertools.islice(counted, 40):
        for segment in inspect_batch.segments(batch, plain):
            thinks = segment.inputs.endswith("step by step.")
            found["gsm8k_cot" if thinks else "gsm8k_answer"] += 1
    assert counted.batches == 40 and counted.examples == sum(found.values()) >= 320
    said = composition(name, counted.examples, seed=seed)
    # The packer may hold an example back while it fills another row.
    assert sum(said.values()) == counted.examples
    assert abs(said["gsm8k_cot"] - found["gsm8k_cot"]) <= (4 if pack else 0)


def test_a_task_alone_is_all_that_was_seen(environment):
    assert composition("gsm8k_cot", 17, seed=0) == {"gsm8k_cot": 17}


def test_names_joined_by_plus_are_a_mixture_with_any_vocabulary(environment):
    assert data.resolve("gsm8k_cot+gsm8k_answer", "byt5") == "gsm8k_cot.gsm8k_answer__byt5"
    with pytest.raises(UserError, match="no task"):
        data.resolve("gsm8k_cot+gsm8k_nothing", "t5")
