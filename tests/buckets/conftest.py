import object_store
import pytest


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """Give the objects of a `gs://` that this process, and those that it starts, find."""
    with object_store.serving(tmp_path) as (store, environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield store


@pytest.fixture
def outage(bucket, monkeypatch):
    """Let `gs://` not answer."""
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
