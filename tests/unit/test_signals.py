"""What a closed terminal, or a kill, does to a run: it is undone, not cut off."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = """
import pathlib, time
from stackpin.cli.exit import run_command
from stackpin.cli.output import Output
out = Output("x")
def body():
    try:
        pathlib.Path("started").touch()
        {wait}
    finally:
        print("undoing", flush=True)
        pathlib.Path("undone").touch()
run_command(out, body)
"""
WAITS = {
    "prompt": "time.sleep({seconds})",
    "rollout": "import gevent; from stackpin.engine.interrupts import interruptible\n"
    "        with interruptible(): gevent.sleep({seconds})",
}


def start(folder: Path, wait: str, seconds: float, *, ignored: bool) -> subprocess.Popen[bytes]:
    def before() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)

    code = COMMAND.replace("{wait}", WAITS[wait].format(seconds=seconds))
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        preexec_fn=before,  # noqa: PLW1509
    )
    deadline = time.monotonic() + 30
    while not (folder / "started").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.3)  # into the wait itself
    return process


@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_signal_is_an_interrupt(tmp_path: Path, wait: str, number: int) -> None:
    process = start(tmp_path, wait, 60, ignored=False)
    process.send_signal(number)
    assert process.wait(20) == 130
    assert (tmp_path / "undone").exists()


@pytest.mark.parametrize("wait", WAITS)
def test_nohup_means_it(tmp_path: Path, wait: str) -> None:
    process = start(tmp_path, wait, 2, ignored=True)
    process.send_signal(signal.SIGHUP)
    assert process.wait(20) == 0


def test_words_to_a_closed_terminal_do_not_stop_the_undoing(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    code = COMMAND.replace("{wait}", "time.sleep(60)")
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    deadline = time.monotonic() + 30
    while not (tmp_path / "started").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.close(ours)  # the window is gone: every write to it fails from now on
    process.send_signal(signal.SIGHUP)
    assert process.wait(20) == 130
    assert (tmp_path / "undone").exists()
