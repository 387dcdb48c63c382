"""Folders in the making, which take their place whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import shutil
import tempfile
import time
from collections.abc import Iterator

from t5distill import places

_JUST_MADE_S = 1.0


@contextlib.contextmanager
def staging(parent: pathlib.Path, name: str) -> Iterator[pathlib.Path]:
    """Give an empty folder `parent/.name.*` to write into; it is gone afterwards.

    Those that killed processes left behind are removed. A living process holds a lock on its own.
    For a place in a bucket the folder is among this machine's temporary files.
    """
    if places.is_remote(parent):
        with tempfile.TemporaryDirectory(prefix=f"t5distill.{name}.") as temporary:
            yield pathlib.Path(temporary)
        return
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob(f".{name}.*"):
        with contextlib.suppress(OSError):
            # A folder that is just being made has no lock yet.
            if time.time() - left.stat().st_mtime > _JUST_MADE_S:
                with _locked(left):
                    shutil.rmtree(left)
    folder = pathlib.Path(tempfile.mkdtemp(dir=parent, prefix=f".{name}."))
    try:
        with _locked(folder):
            os.chmod(folder, 0o755)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: pathlib.Path) -> Iterator[None]:
    """Hold the lock on a folder; raise OSError where another process does."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def replace(new: pathlib.Path, old: pathlib.Path, *, last: str) -> None:
    """Give the folder `new` the name of `old`, which goes.

    Args:
      new: whole, on this machine.
      old: perhaps in a bucket, and perhaps not there.
      last: the file by which a reader in a bucket knows that all is there.
    """
    if places.is_remote(old):
        places.upload(new, old, last=last, alone=True)
        return
    if not old.exists():
        os.replace(new, old)
        return
    # A folder cannot be replaced in one step: the old one steps aside and comes back on failure.
    aside = _aside(old)
    os.replace(old, aside)
    try:
        os.replace(new, old)
    except BaseException:
        os.replace(aside, old)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def restore(old: pathlib.Path) -> None:
    """Bring back a folder that had stepped aside when a process was killed in `replace`."""
    if places.is_remote(old):
        return
    aside = _aside(old)
    if aside.exists() and not old.exists():
        os.replace(aside, old)
    shutil.rmtree(aside, ignore_errors=True)


def _aside(old: pathlib.Path) -> pathlib.Path:
    # No name that `staging` removes.
    return old.parent / f".old-{old.name}"
