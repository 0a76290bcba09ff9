"""What every unit test may count on."""

import os
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyinfra_cli  # noqa: F401 - patches sockets and ssl, before anything has imported them
import pytest
from gevent import monkey

MEMORY = Path("/dev/shm")


@pytest.fixture(scope="session", autouse=True)
def many_files() -> None:
    """Allow all the open files there may be: gevent puts off os.close() until its loop runs."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@pytest.fixture(autouse=True)
def closed_at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let os.close() close where a host's programs are tested: those run without gevent."""
    if request.path.name.startswith("test_host_"):
        monkeypatch.setattr(os, "close", monkey.get_original("os", "close"))


@pytest.fixture
def memory_path(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where there is one, else tmp_path; gone after the test.

    The crash tests replace some ten thousand small files, which a disk with other writers makes
    them wait for.
    """
    where = MEMORY if os.access(MEMORY, os.W_OK) else tmp_path
    with tempfile.TemporaryDirectory(
        prefix="stackpin-", dir=where, ignore_cleanup_errors=True
    ) as made:
        yield Path(made)
