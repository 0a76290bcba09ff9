"""The command line's frame: speed, exit codes, one JSON document, refusals without a host."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from stackpin.cli import COMMANDS
from stackpin.cli.exit import Exit, run_command
from stackpin.cli.options import parse_data
from stackpin.cli.output import Output
from stackpin.errors import GateFailed, Refused, RollbackFailed, StackpinError

STACKPIN = str(Path(sys.executable).with_name("stackpin"))
HEAVY = ("pyinfra", "gevent", "pydantic", "requests", "paramiko", "rich")


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["deploy", "--help"]])
def test_help_is_light(words: list[str]) -> None:
    code = (
        "import sys; sys.argv[0] = 'stackpin'\n"
        "from stackpin.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"


def test_every_command_in_the_table_is_there() -> None:
    from stackpin.cli import main

    for name in COMMANDS:
        command = main.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None
        assert command.help, name


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StackpinError("x"), 1),
        (Refused("x"), 3),
        (GateFailed("x"), 4),
        (RollbackFailed("x"), 5),
        (KeyboardInterrupt(), 130),
        (ValueError("x"), 1),
    ],
)
def test_errors_become_codes_and_one_document(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def body() -> int:
        raise error

    with pytest.raises(SystemExit) as left:
        run_command(Output("deploy", as_json=True), body)
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert left.value.code == document["exit"] == code
    assert document["command"] == "deploy"
    assert not document["ok"]
    assert document["error"]["message"]
    assert "Traceback" not in err


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_command(Output("deploy", debug=True), lambda: 1 // 0)
    assert "ZeroDivisionError" in capsys.readouterr().out


def test_a_code_returned_is_the_code_left_with(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run_command(Output("plan", as_json=True), lambda: Exit.CHANGES)
    assert left.value.code == 2
    assert json.loads(capsys.readouterr().out) == {"command": "plan", "ok": False, "exit": 2}


def test_data() -> None:
    data = parse_data(("a=1", "b=x=y", 'c={"d": [true]}', "e="))
    assert data == {"a": 1, "b": "x=y", "c": {"d": [True]}, "e": ""}
    for bad in ("a", "=1", "a b=1"):
        with pytest.raises(Refused, match="KEY=VALUE"):
            parse_data((bad,))


ABSENT = ["inventories/absent", "crm", "--json"]


def test_a_missing_inventory_is_refused(tmp_path: Path) -> None:
    """By the real program; every command is asked below, in this process."""
    done = subprocess.run(
        [STACKPIN, "deploy", *ABSENT], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3, done.stderr
    assert "inventories/absent" in json.loads(done.stdout)["error"]["message"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["check", "plan", "deploy", "preflight", "verify", "rollback"])
def test_every_command_refuses_a_missing_inventory(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stackpin.cli import main

    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, [command, *ABSENT])
    assert done.exit_code == 3, done.output
    assert "inventories/absent" in json.loads(done.stdout)["error"]["message"]
    assert not list(tmp_path.iterdir())
