"""Messages: sent through Apprise to a real receiver, without secrets, and never a failure."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from test_rollout_batches import DATA, FakeSession

from stackpin import secrets
from stackpin.cli.notify import notify as command
from stackpin.config.common import Shared
from stackpin.config.crm import CrmSettings
from stackpin.config.load import load, load_shared
from stackpin.config.problems import ConfigProblems
from stackpin.config.stacks import stack
from stackpin.config.types import SecretRef
from stackpin.notify import Messenger, deliver
from stackpin.rollout import performing
from stackpin.rollout.model import Request, Roll, Run
from stackpin.rollout.progress import Silent
from stackpin.rollout.telling import began, ended

TOKEN = "token-0123456789"
REF = SecretRef.of("env:NOTIFY_URL")


class Receiver(ThreadingHTTPServer):
    """Takes what is posted; answers `status` after `delay` seconds."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.got: list[dict[str, Any]] = []
        self.status, self.delay = 200, 0.0


class Answer(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(self.server.delay)
        self.server.got.append(json.loads(body))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    server = Receiver()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("NOTIFY_URL", f"json://127.0.0.1:{server.server_port}/{TOKEN}")
    secrets.forget()
    yield server
    secrets.forget()
    server.shutdown()
    server.server_close()


def run(**shared: Any) -> Run:
    values = {"stackpin_notify": ["env:NOTIFY_URL"], **shared}
    made = Run(
        Request("deploy", "inventories/prod", stack("crm")), Silent(), lambda _: None, who="ann"
    )
    made.opened = FakeSession("a")  # type: ignore[assignment]
    made.settings["a"] = {"crm": load(CrmSettings, "crm_", {**DATA, **values}, "a")}
    made.approved = True
    return made


def roll(**changes: Any) -> Roll:
    return Roll("a", "crm", "v1.0.0-a", "v1.1.0-b", **changes)


def test_a_run_that_succeeds_is_told_once(receiver: Receiver) -> None:
    made = run()
    made.rolls = [roll()]
    began(made)
    made.rolls = [roll(outcome="serving", confirmed=True)]
    ended(made)
    (message,) = receiver.got
    assert message["title"] == "deploy crm v1.1.0 on prod: done"
    assert "a crm: serves the wanted release (v1.1.0-b)" in message["message"]
    assert message["type"] == "success"
    assert made.notes == []


def test_start_is_told_where_it_is_asked_for(receiver: Receiver) -> None:
    made = run(stackpin_notify_on=["start", "failure"])
    made.rolls = [roll()]
    began(made)
    made.rolls = [roll(outcome="serving", confirmed=True)]
    ended(made)
    assert [one["title"] for one in receiver.got] == ["deploy crm v1.1.0 on prod: begins"]


def test_a_rollback_is_a_failure_with_its_reason(receiver: Receiver) -> None:
    made = run()
    made.rolls = [roll(outcome="rolled-back", code=4, deadline=1.0, error="gate: sick\nmore")]
    ended(made)
    (message,) = receiver.got
    assert message["type"] == "failure"
    assert message["title"].endswith("rolled-back, exit code 4")
    assert "gate: sick" in message["message"]


def test_an_interrupted_run_is_a_failure(receiver: Receiver) -> None:
    made = run()
    made.rolls, made.raised = [roll(outcome="skipped")], KeyboardInterrupt()
    ended(made)
    assert receiver.got[0]["title"].endswith("exit code 130")


def test_nothing_to_do_is_no_news(receiver: Receiver) -> None:
    made = run()
    made.rolls = [roll(outcome="in-sync")]
    began(made)
    ended(made)
    assert receiver.got == []


def test_messages_have_no_secrets(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSWORD", "s3cret-of-the-database")
    secrets.resolve(SecretRef.of("env:PASSWORD"))
    made = run()
    made.rolls = [roll(outcome="failed", code=1, error="login s3cret-of-the-database refused")]
    ended(made)
    assert "login *** refused" in receiver.got[0]["message"]


@pytest.mark.parametrize("status", [403, 500])
def test_what_cannot_be_sent_is_a_note_without_the_address(receiver: Receiver, status: int) -> None:
    receiver.status = status
    made = run()
    made.rolls = [roll()]
    began(made)
    made.rolls = [roll(outcome="serving", confirmed=True)]
    ended(made)
    (note,) = made.notes
    assert note.startswith("no notification to env:NOTIFY_URL: ")
    assert TOKEN not in note
    assert "json://" not in note


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (None, "no such environment variable"),
        ("nonsense://somewhere", "not an address that Apprise knows"),
        (f"json://127.0.0.1:9/{TOKEN}", ""),
    ],
)
def test_a_wrong_address_is_a_note(
    monkeypatch: pytest.MonkeyPatch, url: str | None, told: str
) -> None:
    secrets.forget()
    monkeypatch.delenv("NOTIFY_URL", raising=False)
    if url:
        monkeypatch.setenv("NOTIFY_URL", url)
    problem = deliver(REF, "test", "title", "body")
    assert problem is not None
    assert told in problem
    assert TOKEN not in problem


def test_a_receiver_that_hangs_does_not_hold_the_run(receiver: Receiver) -> None:
    receiver.delay = 3.0
    messenger = Messenger((REF,), frozenset({"success"}))
    begun = time.monotonic()
    messenger.send("success", "t", "b")
    assert time.monotonic() - begun < 1
    assert messenger.finish(0.3) == ["a notification was not sent within 0.3 s"]
    assert time.monotonic() - begun < 2
    assert messenger.finish(0.3) == []


def test_figures_are_written_also_for_a_refused_run(tmp_path: Path) -> None:
    made = run(stackpin_notify=[], stackpin_metrics_file=f"{tmp_path}/{{inventory}}-{{stack}}.prom")
    made.approved, made.raised = False, ConfigProblems([])
    ended(made)
    text = (tmp_path / "prod-crm.prom").read_text()
    assert 'stackpin_run_exit_code{inventory="prod",stack="crm"} 3.0\n' in text
    assert 'outcome="refused"' in text
    assert (tmp_path / "prod-crm.prom").stat().st_mode & 0o777 == 0o644
    assert len(list(tmp_path.iterdir())) == 1


def test_figures_that_cannot_be_written_are_a_note(tmp_path: Path) -> None:
    made = run(stackpin_notify=[], stackpin_metrics_file=f"{tmp_path}/no/such/folder.prom")
    made.rolls = [roll(outcome="in-sync")]
    ended(made)
    assert made.notes == [
        f"no figures in {tmp_path}/no/such/folder.prom: No such file or directory"
    ]


def test_perform_tells_of_begin_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(performing, "began", lambda _: told.append("began"))
    monkeypatch.setattr(performing, "ended", lambda _: told.append("ended"))
    monkeypatch.setattr(performing, "roll_out", lambda _: told.append("rolled"))
    made = run()
    made.rolls = [roll()]
    monkeypatch.setattr(performing, "_close", lambda _: told.append("closed"))
    performing.perform(made, ())
    assert told == ["began", "rolled", "closed", "ended"]


def test_settings_of_several_hosts_are_one_list_of_addresses() -> None:
    one = load_shared({"stackpin_notify": ["env:A", "env:B"]}, "a")
    two = load_shared({"stackpin_notify": ["env:B"], "stackpin_notify_on": ["start"]}, "b")
    messenger = Messenger.of([one, two])
    assert [str(ref) for ref in messenger.refs] == ["env:A", "env:B"]
    assert messenger.on == {"start", "success", "failure", "drift"}
    assert Messenger.of([Shared()]).refs == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"stackpin_notify": ["json://host/token-in-clear"]},
        {"stackpin_notify_on": ["always"]},
        {"stackpin_notfy": []},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigProblems) as refused:
        load_shared(wrong, "a")
    assert "token-in-clear" not in str(refused.value)


@pytest.fixture
def inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "prod.py"
    path.write_text('hosts = [("a", {"stackpin_notify": ["env:NOTIFY_URL"]})]\n')
    return str(path)


def test_the_command_sends_a_test(receiver: Receiver, inventory: str) -> None:
    done = CliRunner().invoke(command, [inventory, "--test", "--json"])
    assert done.exit_code == 0, done.output
    assert receiver.got[0]["title"].startswith("stackpin: test message of ")
    receiver.status = 500
    done = CliRunner().invoke(command, [inventory, "--test"])
    assert done.exit_code == 1
    assert TOKEN not in done.output


def test_the_command_shows_who_is_told(receiver: Receiver, inventory: str) -> None:
    done = CliRunner().invoke(command, [inventory])
    assert "env:NOTIFY_URL: is told of drift, failure, success" in done.output
    assert receiver.got == []
