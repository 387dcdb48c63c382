"""The safetensors reader, on files of the safetensors package and on damaged ones."""

import json

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from t5distill.errors import UserError
from t5distill.student.safetensors import open_arrays, open_directory, write_arrays


def write(path, header, data=b""):
    raw = json.dumps(header).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + data)


def test_reads_what_the_package_writes(tmp_path):
    arrays = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "half": np.array([1.5], np.float16),
        "scalar": np.array(3.0, np.float64),
        "none": np.zeros((0, 4), np.float32),
    }
    save_file(arrays, tmp_path / "x.safetensors", metadata={"format": "pt"})
    found = open_arrays(tmp_path / "x.safetensors")
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name].read(), array)
        assert found[name].dtype == array.dtype


def test_reads_bfloat16(tmp_path):
    values = np.array([1.0, -2.5], ml_dtypes.bfloat16)
    header = {"w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}
    write(tmp_path / "x.safetensors", header, values.tobytes())
    np.testing.assert_array_equal(open_arrays(tmp_path / "x.safetensors")["w"].read(), values)


@pytest.mark.parametrize(("dtype", "kind"), [("F32", np.float32), ("F16", np.float16)])
def test_the_package_reads_what_is_written(tmp_path, dtype, kind):
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.array(3.0), "c": np.zeros((0, 4))}
    shapes = {name: array.shape for name, array in arrays.items()}
    write_arrays(tmp_path / "x.safetensors", shapes, dtype, arrays.__getitem__)
    found = load_file(tmp_path / "x.safetensors")
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array.astype(kind))
        assert found[name].dtype == kind
    with pytest.raises(ValueError, match="a has shape"):
        write_arrays(tmp_path / "x.safetensors", {"a": (3,)}, dtype, arrays.__getitem__)
    assert set(load_file(tmp_path / "x.safetensors")) == set(arrays)


def test_reads_shards(tmp_path):
    save_file({"a": np.ones(2, np.float32)}, tmp_path / "one.safetensors")
    save_file({"b": np.ones(3, np.float32)}, tmp_path / "two.safetensors")
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert {k: v.shape for k, v in open_directory(tmp_path).items()} == {"a": (2,), "b": (3,)}
    (tmp_path / "two.safetensors").unlink()
    with pytest.raises(UserError, match=r"two\.safetensors: no such file"):
        open_directory(tmp_path)
    save_file({"c": np.ones(3, np.float32)}, tmp_path / "two.safetensors")
    with pytest.raises(UserError, match="holds b, but it does not"):
        open_directory(tmp_path)


def test_pickles_are_named(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(UserError, match="save_pretrained"):
        open_directory(tmp_path)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]},
        {"dtype": "F8", "shape": [2], "data_offsets": [0, 2]},
        {"dtype": "F32", "shape": [2]},
        [],
    ],
)
def test_entries_that_do_not_fit(tmp_path, entry):
    write(tmp_path / "x.safetensors", {"w": entry}, bytes(8))
    with pytest.raises(UserError, match="array w does not fit"):
        open_arrays(tmp_path / "x.safetensors")


@pytest.mark.parametrize("data", [b"", b"1234567", b"\xff" * 20, b"\x02" + bytes(7) + b"[]"])
def test_no_safetensors(tmp_path, data):
    (tmp_path / "x.safetensors").write_bytes(data)
    with pytest.raises(UserError, match="safetensors"):
        open_arrays(tmp_path / "x.safetensors")
