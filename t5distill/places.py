"""Paths on this machine and in buckets (`gs://...`), wherever one is taken.

A bucket is reached through etils: by TensorFlow's file system where TensorFlow is installed, else
by fsspec. What a bucket cannot do (append to a file, lock or rename a folder) is done on this
machine first and copied when it is whole; a reader knows by the file that is copied last.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import io
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any, cast

from t5distill import quiet
from t5distill.errors import UserError

Path = str | os.PathLike[str]
_LIBRARIES = ("tensorflow.python.framework.errors", "gcsfs", "aiohttp", "google.")


def is_remote(path: Path) -> bool:
    """Tell whether a path is in a bucket."""
    return "://" in os.fspath(path)


def place(path: Path) -> pathlib.Path:
    """Return a path with pathlib's methods; one in a bucket has those that make sense there."""
    if not is_remote(path):
        return pathlib.Path(path)
    if importlib.util.find_spec("tensorflow"):
        quiet.import_tensorflow()
    from etils import epath

    return cast(pathlib.Path, epath.Path(path))


def only_writer(path: Path, busy: str) -> int:
    """Take the lock that one writing process holds; the kernel gives it back when that ends.

    Args:
      path: what is written, on this machine; the lock lies beside it, `PATH.lock`.
      busy: what to say where another process has it.

    Returns:
      an open descriptor.
    """
    try:
        handle = os.open(f"{path}.lock", os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as e:
        raise UserError(f"{path}: cannot be written here: {e.strerror}") from e
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as e:
        os.close(handle)
        raise UserError(f"{path}: {busy}") from e
    return handle


@contextlib.contextmanager
def reading(path: Path) -> Iterator[io.BufferedReader]:
    """Open a file for reading; what lies in a bucket is copied first.

    Raises:
      OSError: there is no such file.
      UserError: the bucket cannot be read.
    """
    if not is_remote(path):
        with open(path, "rb") as f:
            yield f
        return
    with tempfile.TemporaryFile() as f:
        with _told(path), place(path).open("rb") as remote:
            shutil.copyfileobj(remote, f, 1 << 20)
        f.seek(0)
        yield cast(io.BufferedReader, f)


@contextlib.contextmanager
def fetched(path: Path) -> Iterator[pathlib.Path]:
    """Give a file or folder on this machine: itself, or a copy of what lies in a bucket."""
    if not is_remote(path):
        yield pathlib.Path(path)
        return
    with tempfile.TemporaryDirectory(prefix="t5distill.") as folder, _told(path):
        local = pathlib.Path(folder, place(path).name)
        _fetch(place(path), local)
        yield local


def _fetch(source: pathlib.Path, target: pathlib.Path) -> None:
    if not source.is_dir():
        with source.open("rb") as remote, open(target, "wb") as f:
            shutil.copyfileobj(remote, f, 1 << 20)
        return
    target.mkdir()
    for entry in source.iterdir():
        _fetch(entry, target / entry.name)


def move(source: pathlib.Path, target: pathlib.Path) -> None:
    """Give a file its place, which may be in a bucket; what stood there is replaced."""
    if not is_remote(target):
        os.replace(source, target)
        return
    with _told(target), open(source, "rb") as f, target.open("wb") as remote:
        shutil.copyfileobj(f, remote, 1 << 20)
    source.unlink()


def upload(folder: pathlib.Path, target: pathlib.Path, *, last: str, alone: bool = False) -> None:
    """Move the files of a folder to a bucket.

    Args:
      folder: on this machine.
      target: where its files go.
      last: the file, below the folder, without which it is not whole: the one that stands there
        goes first, and the new one comes last.
      alone: whether other files that lie there go; else they stay.
    """
    files = sorted((f for f in folder.rglob("*") if f.is_file()), key=lambda f: f == folder / last)
    with _told(target):
        (target / last).unlink(missing_ok=True)
    if alone:
        remove_tree(target)
    for file in files:
        move(file, target / file.relative_to(folder))


def remove_tree(path: pathlib.Path) -> None:
    """Remove a folder and all that is in it, where there is one."""
    if not is_remote(path):
        shutil.rmtree(path, ignore_errors=True)
        return
    with _told(path):
        if path.exists():
            cast(Any, path).rmtree()


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what the libraries raise of a bucket, which are no OSErrors, into one line."""
    try:
        yield
    except (OSError, UserError):
        raise
    except Exception as e:
        told = said(e)
        if told is None:
            raise
        raise UserError(f"{path}: {told}") from e


def said(error: Exception) -> str | None:
    """Return what a bucket's libraries say in one line, None where an error is not theirs."""
    if not type(error).__module__.startswith(_LIBRARIES):
        return None
    return " ".join(str(error).split())[:500]
