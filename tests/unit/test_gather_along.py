"""A change with facts behind it: it brings what it brings alone, and the facts what they do."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyinfra.api.command import FunctionCommand, MaskString, StringCommand
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.util import CommandOutput, OutputLine, make_unix_command
from test_gather_script import HOSTILE

from operations.sending import FileThenText
from stackpin.engine.gather import connector as connector_module
from stackpin.engine.gather.along import trip
from stackpin.engine.gather.connector import remembering
from stackpin.engine.gather.jobs import Job
from stackpin.engine.gather.memory import Memory
from stackpin.engine.gather.refill import Refill
from stackpin.engine.gather.script import Output, lines

SH: dict[str, Any] = {"_shell_executable": "sh"}
FACTS = [
    Job(text, (("_shell_executable", "sh"),)) for text in ("echo a; echo b >&2", "cat; exit 3")
]
READ = {FACTS[0]: Output(0, ("a",), ("b",)), FACTS[1]: Output(3, (), ())}


def ran(command: StringCommand, stdin: str = "", **rights: Any) -> tuple[int, CommandOutput]:
    """Run a command as pyinfra does over SSH, and read its outputs as pyinfra does."""
    rendered = make_unix_command(command, **rights).get_raw_value()
    done = subprocess.run(
        ["sh", "-c", rendered],
        input=stdin.encode(),
        capture_output=True,
        check=False,
        cwd="/usr",
        env={"PATH": "/usr/bin:/bin", "HOME": "/root"},
    )
    rows = [OutputLine("stdout", line) for line in lines(done.stdout)]
    rows += [OutputLine("stderr", line) for line in lines(done.stderr)]
    return done.returncode, CommandOutput(rows)


@pytest.mark.parametrize("stdin", ["", "in\nput'\n"])
@pytest.mark.parametrize(
    "text",
    [
        *(text for text in HOSTILE if text != "kill -9 $$"),
        "true # as a comment",
        "cat <<'x'\nhere\nx",
        "exec echo replaced",
        "head -1",
        "b=5; s=7; (exit 0)",
        "echo 'stackpin-0000 H4sI'; printf 'stackpin-1 x'",
        "printf '\\n\\n\\n'",
        "printf '\\n\\nx'",
        "if",
    ],
)
def test_a_change_brings_what_it_brings_alone(text: str, stdin: str) -> None:
    command = StringCommand(text)
    joined = trip(command, {**SH, "_stdin": stdin, "_timeout": 600}, FACTS)
    assert joined is not None
    status, output = ran(joined.command, stdin)
    told, found = joined.apart(output)
    wanted_status, wanted = ran(command, stdin)
    assert (status, list(told)) == (wanted_status, list(wanted))
    assert found == (READ if wanted_status == 0 else {})


def test_a_change_that_is_killed_has_failed() -> None:
    joined = trip(StringCommand("echo x; kill -9 $$"), SH, FACTS)
    assert joined is not None
    status, output = ran(joined.command)
    assert status != 0
    assert joined.apart(output)[0].stdout_lines == ["x"]


def test_what_pyinfra_puts_before_a_command_is_before_all_of_it(tmp_path: Path) -> None:
    command, made = StringCommand("pwd; touch made; echo $A"), tmp_path / "made"
    rights = {**SH, "_chdir": str(tmp_path), "_env": {"A": "it's"}}
    facts = [
        Job(
            "pwd; echo $A",
            (*FACTS[0].rights, ("_chdir", str(tmp_path)), ("_env", (("A", "it's"),))),
        )
    ]
    joined = trip(command, rights, facts)
    assert joined is not None
    told, found = joined.apart(ran(joined.command, **rights)[1])
    assert told.stdout_lines == [str(tmp_path), "it's"]
    assert list(found[facts[0]].stdout) == [str(tmp_path), "it's"]
    made.unlink()
    status, output = ran(joined.command, **{**rights, "_chdir": "/none"})
    assert status != 0
    assert joined.apart(output)[1] == {}
    assert not made.exists()
    assert not Path("/usr/made").exists()


def test_a_change_that_took_most_of_its_time_has_no_facts_behind_it() -> None:
    for text, found in (("true", READ), ("sleep 3", {})):
        joined = trip(StringCommand(text), {**SH, "_timeout": 62}, FACTS)
        assert joined is not None
        assert joined.apart(ran(joined.command)[1])[1] == found
    assert trip(StringCommand("true"), {**SH, "_timeout": 60}, FACTS) is None


@pytest.mark.parametrize(
    "given",
    [
        {"_get_pty": True},
        {"_sudo": True},
        {"_sudo_password": "x"},
        {"_success_exit_codes": [0, 1]},
        {"_shell_executable": "bash"},
        {"_shell_executable": None},
        {"_of_a_later_pyinfra": True},
    ],
)
def test_what_has_to_run_alone(given: dict[str, Any]) -> None:
    assert trip(StringCommand("true"), {**SH, **given}, FACTS) is None


def test_a_long_command_and_one_that_nothing_comes_after_run_alone() -> None:
    assert trip(StringCommand("echo " + "x" * 90_000), SH, FACTS) is not None
    assert trip(StringCommand("echo " + "x" * 100_000), SH, FACTS) is None
    # Alone, quoted once for sudo, these are 36,000 characters; joined, quoted twice, 108,000.
    assert trip(StringCommand("echo " + "\\'" * 6_000), SH, FACTS) is None
    assert trip(StringCommand("true"), SH, []) is None


def test_what_is_masked_stays_masked() -> None:
    joined = trip(StringCommand("login", MaskString("hunter2")), SH, FACTS)
    assert joined is not None
    assert "hunter2" not in str(joined.command)
    assert "hunter2" in joined.command.get_raw_value()


def test_a_damaged_answer_is_none() -> None:
    joined = trip(StringCommand("true"), SH, FACTS)
    assert joined is not None
    for answer in ("", "!", "H4sI", "AAAA"):
        rows = [OutputLine("stdout", "x"), OutputLine("stdout", f"{joined.script.marker} {answer}")]
        told, found = joined.apart(CommandOutput(rows))
        assert (told.stdout_lines, found) == (["x"], {})


# The connector


class Host:
    """As much of pyinfra's host as is asked for here."""

    name = "a"
    print_prefix = ""
    current_op_hash = "op"

    def get_fact(self) -> None:
        """To be shadowed."""


@pytest.fixture
def remembered(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a connector whose SSH runs commands here, and keeps them in `seen`."""
    seen: list[str] = []

    def run_shell_command(
        self: Any, command: StringCommand, *_shown: bool, _stdin: str = "", **arguments: Any
    ) -> tuple[bool, CommandOutput]:
        seen.append(command.get_raw_value())
        rights = {name: value for name, value in arguments.items() if name != "_timeout"}
        status, output = ran(command, _stdin, **rights)
        return status == 0, output

    monkeypatch.setattr(SSHConnector, "__init__", lambda *_: None)
    monkeypatch.setattr(SSHConnector, "run_shell_command", run_shell_command)
    host: Any = Host()
    made: Any = remembering(SSHConnector, Memory())(None, host)  # type: ignore[arg-type]
    made.host, made.seen = host, seen
    return made


def test_facts_behind_a_change_are_known_after_it(remembered: Any) -> None:
    memory = remembered.memory
    memory.keep(memory.generation, {FACTS[0]: Output(0, ("of before",), ())})
    memory.ahead = FACTS
    told = remembered.run_shell_command(StringCommand("echo changed"), **SH, _timeout=600)
    assert (told[0], told[1].stdout_lines) == (True, ["changed"])
    assert {one: memory.output(one) for one in FACTS} == READ
    assert len(remembered.seen) == 1
    told = remembered.run_shell_command(StringCommand("false"), **SH)
    assert told[0] is False
    assert memory.known() == []


def test_facts_read_beside_another_change_are_not_kept(remembered: Any) -> None:
    memory = remembered.memory
    memory.ahead = FACTS
    run = remembered._run

    def meanwhile(*args: Any) -> Any:
        told = run(*args)
        memory.forget()  # another greenlet's call to the host
        return told

    remembered._run = meanwhile
    assert remembered.run_shell_command(StringCommand("true"), **SH)[0]
    assert memory.known() == []


@pytest.mark.parametrize("shown", [{"print_output": True}, {"print_input": True}])
def test_what_pyinfra_shows_runs_alone(remembered: Any, shown: dict[str, bool]) -> None:
    remembered.memory.ahead = FACTS
    remembered.run_shell_command(StringCommand("true"), **shown, **SH)
    assert remembered.seen == ["true"]


def test_a_file_as_input(remembered: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = tmp_path / "sent"
    sent.write_bytes(b"\xff\x00")
    closed: list[str] = []
    transport = SimpleNamespace(
        open_session=lambda: SimpleNamespace(close=lambda: closed.append("channel"))
    )
    remembered.state = None
    remembered.client = SimpleNamespace(get_transport=lambda: transport)

    def converse(_channel: Any, command: str, file: Any, rest: bytes) -> Any:
        assert (command, file.read(), rest) == ("sh -c 'cat >x'", b"\xff\x00", b"{}")
        return SimpleNamespace(status=1, stdout=b"", stderr="no room\n")

    monkeypatch.setattr(connector_module, "converse", converse)
    monkeypatch.setattr(
        connector_module,
        "make_unix_command_for_host",
        lambda _state, _host, text, **rights: make_unix_command(text, **rights),
    )
    remembered.memory.ahead = FACTS
    command = StringCommand("cat >x")
    given = FileThenText(sent, "{}")
    told = remembered.run_shell_command(command, _stdin=given, _timeout=600, **SH)
    assert (told[0], told[1].stderr_lines) == (False, ["no room"])

    def cut(*_: Any, **__: Any) -> Any:
        raise EOFError("closed")

    monkeypatch.setattr(connector_module, "converse", cut)
    with pytest.raises(OSError, match="closed"):  # what pyinfra takes for this host's failure
        remembered.run_shell_command(command, _stdin=given, **SH)
    assert closed == ["channel", "channel"]


# What is ahead


def jobs(*names: str) -> dict[Job, None]:
    return {Job(name, ()): None for name in names}


def operation(*, change: bool, commands: tuple[Any, ...] = ()) -> Any:
    meta = SimpleNamespace(
        _maybe_is_change=change,
        _commands=commands,
        is_complete=lambda: True,
        did_change=lambda: bool(commands),
    )
    return SimpleNamespace(operation_meta=meta)


@pytest.fixture
def refill() -> Any:
    host = Host()
    ops = {
        "1": operation(change=True, commands=(StringCommand("x"),)),
        "2": operation(change=False),
        "3": operation(change=True, commands=(StringCommand("x"), FunctionCommand(print, (), {}))),
        "4": operation(change=True),
    }
    state = SimpleNamespace(get_op_order=lambda: list(ops), ops={host: ops}, inventory=[host])
    memory, fetched = Memory(), []
    memory.of_operation = {"1": jobs("p"), "2": jobs("q", "r"), "3": jobs("r", "s"), "4": jobs("t")}
    made = Refill({"a": memory}, lambda _host, wanted: fetched.append(wanted))
    return SimpleNamespace(refill=made, memory=memory, state=state, host=host, fetched=fetched)


def test_what_comes_up_to_the_next_change_is_ahead(refill: Any) -> None:
    for number, ahead in (("1", "qrs"), ("2", "rs"), ("3", "t"), ("4", "")):
        refill.refill.operation_host_start(refill.state, refill.host, number)
        assert [one.text for one in refill.memory.ahead] == list(ahead)
    refill.refill.operation_host_start(refill.state, refill.host, "1")
    refill.refill.operation_host_start(refill.state, refill.host, "within another")
    assert not refill.memory.ahead


def test_nothing_is_ahead_where_facts_are_read_one_by_one(refill: Any) -> None:
    refill.memory.live = True
    refill.refill.operation_host_start(refill.state, refill.host, "1")
    assert not refill.memory.ahead


def test_only_what_is_not_known_is_fetched(refill: Any) -> None:
    refill.refill.operation_host_start(refill.state, refill.host, "2")
    assert [[one.text for one in wanted] for wanted in refill.fetched] == [["q", "r", "s"]]
    out = Output(0, (), ())
    refill.memory.keep(0, dict.fromkeys(jobs("q", "r"), out))
    refill.refill.operation_host_start(refill.state, refill.host, "2")
    assert len(refill.fetched) == 1  # one fact is an exec either way


def test_what_a_function_did_is_forgotten_when_it_ends(refill: Any) -> None:
    known = Job("known", ())
    for number, left in (("1", [known]), ("2", [known]), ("3", [])):
        refill.memory.ahead = [known]
        refill.memory.keep(refill.memory.generation, {known: Output(0, (), ())})
        refill.refill.operation_end(refill.state, number)
        assert refill.memory.known() == left
        assert not refill.memory.ahead
