"""Many commands in one script: each brings what it would have brought alone, whatever that is."""

from __future__ import annotations

import subprocess
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stackpin.engine.gather.jobs import Job
from stackpin.engine.gather.script import COMMAND, Output, Question, lines, write

SH = (("_shell_executable", "sh"),)
HOSTILE = [
    "printf 'no newline'",
    "printf ''",
    "true",
    "false",
    "exit 7",
    "echo out; echo err >&2; exit 3",
    "echo '0.r 1'; echo '0.o 3'",
    "printf 'a\\n\\nb\\n\\n'",
    "echo 'é ü 漢'",
    "printf 'cr\\r\\n'",
    "seq 1 30000",
    "cat",
    "echo $0 $# $HOME",
    "echo \"quo'te\" '\"'",
    "cd / && pwd",
    "printf '  lead\\n\\ttab\\n'",
    "kill -9 $$",
    "echo a\\\\b",
    "head -c 300000 /dev/zero | tr '\\0' x",
    "exec 1>&-; true",
    "(sleep 0.1; echo late) & wait",
    "echo '$(id)' `echo b`; echo *",
    "trap '' TERM; echo trapped",
    "umask; exit 255",
]


def prefix(rights: dict[str, Any]) -> str:
    """Stand in for sudo: an environment variable tells the group."""
    return f"env GROUP={rights['_sudo_user']} sh" if "_sudo_user" in rights else "sh"


def ran(script: bytes, folder: Path) -> bytes:
    env = {"PATH": "/usr/bin:/bin", "HOME": "/root", "TMPDIR": str(folder)}
    done = subprocess.run(
        ["sh", "-c", COMMAND], input=script, capture_output=True, check=False, cwd="/usr", env=env
    )
    return done.stdout


def together(jobs: list[Job | Question], folder: Path) -> dict[int, Output]:
    script = write(jobs, prefix)
    return script.outputs(ran(script.body, folder))


def alone(text: str, folder: Path) -> Output:
    env = {"PATH": "/usr/bin:/bin", "HOME": "/root", "TMPDIR": str(folder)}
    done = subprocess.run(
        ["sh", "-c", text],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        cwd="/usr",
        env=env,
    )
    return Output(done.returncode % 256, lines(done.stdout), lines(done.stderr))


def test_hostile_commands_bring_what_they_bring_alone(tmp_path: Path) -> None:
    found = together([Job(text, SH) for text in HOSTILE], tmp_path)
    assert sorted(found) == list(range(len(HOSTILE)))
    for number, text in enumerate(HOSTILE):
        wanted = alone(text, tmp_path)
        if text.startswith("kill"):
            assert found[number].status == 137  # as a shell tells of a signal
            continue
        assert found[number] == wanted, text
    assert list(tmp_path.iterdir()) == []  # nothing is left behind


@settings(max_examples=25, deadline=None)
@given(st.lists(st.binary(max_size=60), min_size=1, max_size=6))
def test_any_output_is_brought_whole_or_not_at_all(outputs: list[bytes]) -> None:
    jobs: list[Job | Question] = []
    for data in outputs:
        octal = "".join(f"\\0{byte:03o}" for byte in data)
        jobs.append(Job(f"printf '%b' '{octal}'", SH))
    found = together(jobs, Path("/tmp"))
    for number, data in enumerate(outputs):
        try:
            wanted = lines(data)
        except UnicodeDecodeError:
            assert number not in found
        else:
            assert found[number].stdout == wanted


def test_each_group_has_its_own_rights_and_one_prefix(tmp_path: Path) -> None:
    other = (*SH, ("_sudo_user", "daemon"))
    jobs: list[Job | Question] = [Job("echo $GROUP", SH), Job("echo $GROUP", other)] * 2
    script = write(jobs, prefix)
    assert zlib.decompress(script.body, wbits=31).count(b"env GROUP=daemon sh") == 1
    found = script.outputs(ran(script.body, tmp_path))
    assert [found[number].stdout for number in range(4)] == [("",), ("daemon",)] * 2


def test_a_group_that_cannot_run_leaves_the_others(tmp_path: Path) -> None:
    other = (*SH, ("_sudo_user", "nobody"))
    script = write([Job("echo a", SH), Job("echo b", other), Job("echo c", SH)], _refusing)
    found = script.outputs(ran(script.body, tmp_path))
    assert {number: one.stdout for number, one in found.items()} == {0: ("a",), 2: ("c",)}


def _refusing(rights: dict[str, Any]) -> str:
    return "false" if "_sudo_user" in rights else "sh"


def test_a_question_has_its_input_and_shows_it_nowhere(tmp_path: Path) -> None:
    secret = "s3cret-payload"
    watch = Job("sleep 0.2; cat /proc/[0-9]*/cmdline | tr '\\0' '\\n'", SH)
    asked = Question("cat; sleep 0.4", secret, SH)
    found = together([asked, watch], tmp_path)
    assert found[0].stdout == (secret,)
    assert secret not in "\n".join(found[1].stdout)


def test_what_takes_too_long_is_left_to_run_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stackpin.engine.gather.script.SECONDS", 1)
    found = together([Job("sleep 5", SH), Job("echo here", SH)], tmp_path)
    assert list(found) == [1]


@pytest.mark.parametrize("answer", [b"", b"plain", zlib.compress(b"other", wbits=31)])
def test_a_damaged_answer_is_none(answer: bytes) -> None:
    assert write([Job("true", SH)], prefix).outputs(answer) == {}


def test_a_cut_answer_is_none(tmp_path: Path) -> None:
    script = write([Job("echo abc", SH), Job("echo def", SH)], prefix)
    whole = zlib.decompress(ran(script.body, tmp_path), wbits=31)
    for length in range(0, len(whole), 7):
        cut = script.outputs(zlib.compress(whole[:length], wbits=31))
        assert all(output.stdout in {("abc",), ("def",)} for output in cut.values())


def test_a_login_shell_that_talks_does_no_harm(tmp_path: Path) -> None:
    script = write([Job("echo abc", SH)], prefix)
    whole = zlib.decompress(ran(script.body, tmp_path), wbits=31)
    noisy = zlib.compress(b"Welcome!\n0.r 2\n" + whole, wbits=31)
    assert script.outputs(noisy)[0].stdout == ("abc",)
