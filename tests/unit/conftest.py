"""What every unit test may count on."""

import resource

import pytest


@pytest.fixture(scope="session", autouse=True)
def many_files() -> None:
    """Allow all the open files there may be.

    gevent, once a command has loaded it, puts off os.close() until its loop runs; the crash tests
    open some thousand directories before that.
    """
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
