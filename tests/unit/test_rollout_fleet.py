"""A server and six nodes rolled out: order, failures, heartbeats, and all the way back."""

from __future__ import annotations

from typing import Any

import gevent
import pytest

from stackpin.engine.remote import RemoteError, RemoteLost, RemoteRefused
from stackpin.errors import Refused
from stackpin.rollout import heartbeats, rolling, undoing
from stackpin.rollout.closing import exit_code
from stackpin.rollout.connecting import left_out
from stackpin.rollout.heartbeats import agree, judge
from stackpin.rollout.model import Roll, Run
from stackpin.rollout.pulling import pull
from stackpin.rollout.rolling import roll_out
from tests.unit.fleet_fakes import NEW, OLD, SERVER, WORKER, FakeFleet, fleet_run, sick


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    from stackpin.engine.apply import Applied
    from stackpin.rollout import stages

    monkeypatch.setattr(
        stages,
        "apply_files",
        lambda s, hosts, *_, **__: {host: Applied(("x",), None) for host in hosts},
    )
    monkeypatch.setattr(rolling, "verify_roll", lambda *_: None)
    monkeypatch.setattr(undoing, "PATIENCE", 0.0)
    monkeypatch.setattr(undoing, "PAUSE", 0.0)
    monkeypatch.setattr(heartbeats, "PAUSE", 0.0)
    monkeypatch.setattr(gevent, "sleep", lambda *_: None)
    monkeypatch.setattr("stackpin.rollout.stages.CONFIRM_RESERVE", 19.9)


def outcomes(run: Run) -> dict[str, str]:
    return {roll.host: roll.outcome for roll in run.rolls}


def test_server_first_then_a_canary_then_halves() -> None:
    fleet = FakeFleet(6)
    run = roll_out(fleet_run(fleet))
    assert exit_code(run) == 0
    assert run.keeps_pin
    assert set(fleet.serving.values()) == {NEW}
    order = [host for host, command in fleet.calls if command in {"begin", "retire"}]
    assert order[:4] == ["server", "server", "node1", "node1"]
    # The next begin only after all of a batch are retired.
    assert order[4:] == [
        *["node2", "node3", "node4"] * 2,
        *["node5", "node6"] * 2,
    ]


def test_each_host_is_asked_about_its_own_part_only() -> None:
    fleet = FakeFleet(2)
    run = fleet_run(fleet)
    assert run.places == {"server": (SERVER,), "node1": (WORKER,), "node2": (WORKER,)}
    assert run.hosts_of(WORKER) == ["node1", "node2"]
    assert run.witness(WORKER) == "server"
    assert run.witness(SERVER) is None


def test_a_failing_server_stops_whatever_is_allowed() -> None:
    fleet = FakeFleet(3)
    fleet.fail["server", "gate"] = sick("server")
    run = roll_out(fleet_run(fleet, max_failures=5))
    assert exit_code(run) == 4
    assert outcomes(run) == {"server": "rolled-back", **dict.fromkeys(fleet.every[1:], "skipped")}
    assert not run.keeps_pin


def test_a_late_failure_takes_everybody_back() -> None:
    fleet = FakeFleet(6)
    fleet.fail["node5", "probe"] = sick("node5")
    run = roll_out(fleet_run(fleet))
    assert exit_code(run) == 4
    assert set(outcomes(run).values()) == {"rolled-back"}
    assert set(fleet.serving.values()) == {OLD}
    assert not run.keeps_pin
    back = [host for host, name, _ in fleet.runs if name == f"{run.id}-back"]
    # The server first, so that nodes find the version they go back to; node5, 6 were undone.
    assert back == ["server", "node1", "node2", "node3", "node4"]
    assert all(release == OLD for _, name, release in fleet.runs if name.endswith("-back"))
    assert "went back to v1.1.0" in run.rolls[1].error


def test_halt_leaves_confirmed_hosts() -> None:
    fleet = FakeFleet(6)
    fleet.fail["node2", "probe"] = sick("node2")
    run = roll_out(fleet_run(fleet, on_failure="halt"))
    assert exit_code(run) == 4
    found = outcomes(run)
    assert (found["server"], found["node1"], found["node2"]) == (
        "serving",
        "serving",
        "rolled-back",
    )
    assert found["node6"] == "skipped"
    assert not run.keeps_pin


def test_a_host_without_a_past_stays_and_says_so() -> None:
    fleet = FakeFleet(2)
    fleet.serving["node1"] = None
    fleet.fail["node2", "gate"] = sick("node2")
    run = roll_out(fleet_run(fleet))
    assert outcomes(run) == {"server": "rolled-back", "node1": "serving", "node2": "rolled-back"}
    assert any("node1" in note and "nothing before" in note for note in run.notes)
    assert exit_code(run) == 4


def test_what_was_made_anew_has_nothing_to_go_back_to() -> None:
    fleet = FakeFleet(2)
    fleet.fail["node2", "gate"] = sick("node2")
    run = fleet_run(fleet)
    for roll in run.rolls:
        if roll.host == "node1":
            roll.now, roll.anew = roll.wanted, True
    roll_out(run)
    assert outcomes(run) == {"server": "rolled-back", "node1": "serving", "node2": "rolled-back"}
    assert any("node1" in note and "served that before" in note for note in run.notes)
    assert exit_code(run) == 4


def test_a_way_back_that_fails_is_told_with_5(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = FakeFleet(2)
    fleet.fail["node2", "gate"] = sick("node2")
    plain, reverted = fleet.on_begin, fleet.on_abort

    def begin(host: str, payload: dict[str, Any]) -> dict[str, Any]:
        if host == "node1" and payload["run"].endswith("-back"):
            raise RemoteRefused(host, "its old release is gone", {"current": "x"})
        return plain(host, payload)

    def abort(host: str, payload: Any) -> dict[str, Any]:
        return {"stage": "never-begun"} if host == "node1" else reverted(host, payload)

    monkeypatch.setattr(fleet, "on_begin", begin)
    monkeypatch.setattr(fleet, "on_abort", abort)
    run = roll_out(fleet_run(fleet))
    assert exit_code(run) == 5
    node1 = run.rolls[1]
    assert (node1.outcome, node1.code) == ("serving", 5)
    assert "its old release is gone" in node1.error
    assert outcomes(run)["server"] == "rolled-back"


def test_allowed_failures_keep_the_pin() -> None:
    fleet = FakeFleet(6)
    fleet.fail["node3", "start"] = sick("node3")
    run = roll_out(fleet_run(fleet, max_failures=1))
    assert exit_code(run) == 4
    found = outcomes(run)
    assert found.pop("node3") == "rolled-back"
    assert set(found.values()) == {"serving"}
    assert run.keeps_pin


def test_a_node_whose_agent_never_beats_goes_back() -> None:
    fleet = FakeFleet(3)
    fleet.mute.add("node1")
    run = roll_out(fleet_run(fleet))
    assert exit_code(run) == 4
    node1 = run.rolls[1]
    assert node1.outcome == "rolled-back"
    assert "no heartbeat" in node1.error
    assert node1.public is not None
    assert node1.public["results"][0]["name"] == "heartbeat"
    assert outcomes(run) == {
        "server": "rolled-back",
        "node1": "rolled-back",
        "node2": "skipped",
        "node3": "skipped",
    }


def test_an_unreachable_node_is_left_for_the_next_run() -> None:
    fleet = FakeFleet(3, away=("node2",))
    run = fleet_run(fleet)
    told = left_out(fleet, run.places)  # type: ignore[arg-type]
    assert list(told) == ["node2"]
    run.rolls.insert(0, Roll("node2", WORKER, None, None, outcome="unreachable", code=2))
    roll_out(run)
    assert exit_code(run) == 2
    assert run.failures == 0
    assert run.keeps_pin
    assert fleet.of("node2") == []


def test_an_unreachable_server_refuses() -> None:
    fleet = FakeFleet(2, away=("server", "node1"))
    with pytest.raises(Refused, match="server: no SSH"):
        left_out(fleet, fleet_run(fleet).places)  # type: ignore[arg-type]


def test_a_node_cut_off_in_a_batch_does_not_hold_up_the_others() -> None:
    fleet = FakeFleet(4)
    fleet.guard = 0.2
    fleet.fail["node2", "probe"] = RemoteLost("node2", "cut")
    fleet.fail["node2", "abort"] = RemoteLost("node2", "cut")
    run = roll_out(fleet_run(fleet, max_failures=1))
    found = outcomes(run)
    assert found.pop("node2") == "unknown"
    assert set(found.values()) == {"serving"}
    assert exit_code(run) == 5


def with_images(run: Run) -> Run:
    for roll in run.rolls:
        run.images[roll.host] = {roll.part: {"agent": "r/x-agent:v1.2.0@sha256:aa"}}
    return run


def test_every_host_pulls_before_any_switches() -> None:
    fleet = FakeFleet(3)
    pull(with_images(fleet_run(fleet)))
    assert fleet.calls == [(host, "pull") for host in fleet.every]


def test_new_hosts_and_those_in_sync_do_not_pull() -> None:
    fleet = FakeFleet(3)
    fleet.serving |= {"node1": None, "node2": NEW}
    pull(with_images(fleet_run(fleet)))
    assert [host for host, _ in fleet.calls] == ["server", "node3"]


def test_a_pull_that_fails_refuses_the_run() -> None:
    fleet = FakeFleet(3)
    fleet.fail["node3", "pull"] = RemoteRefused("node3", "no space left on device")
    with pytest.raises(Refused, match=r"(?s)node3: no space.*nothing was switched"):
        pull(with_images(fleet_run(fleet)))


def test_a_pull_that_may_fail_leaves_its_node_out() -> None:
    fleet = FakeFleet(3)
    fleet.fail["node3", "pull"] = RemoteRefused("node3", "no space left on device")
    run = roll_out(pull(with_images(fleet_run(fleet, max_failures=1))))
    assert outcomes(run) == {
        "server": "serving",
        "node1": "serving",
        "node2": "serving",
        "node3": "failed",
    }
    assert exit_code(run) == 1
    assert run.keeps_pin


def test_a_server_that_cannot_pull_always_refuses() -> None:
    fleet = FakeFleet(3)
    fleet.fail["server", "pull"] = RemoteRefused("server", "manifest unknown")
    with pytest.raises(Refused, match="manifest unknown"):
        pull(with_images(fleet_run(fleet, max_failures=5)))


def test_nodes_alone_do_not_get_ahead_of_their_server() -> None:
    fleet = FakeFleet(1)
    run = fleet_run(fleet, name=WORKER)
    with pytest.raises(Refused, match=r"server runs v1\.1\.0.*v1\.2\.0"):
        agree(run)
    fleet.serving["server"] = NEW
    assert agree(run) is run
    assert agree(fleet_run(FakeFleet(1))) is not None


def test_a_server_that_cannot_be_asked_refuses() -> None:
    fleet = FakeFleet(1)
    fleet.fail["server", "fleet"] = RemoteError("server", "no server container runs")
    with pytest.raises(Refused, match="cannot be asked"):
        agree(fleet_run(fleet, name=WORKER))


ROW = {"id": 7, "api_status": "online", "row_status": "online", "beat": {"updated": 90, "age": 4}}


@pytest.mark.parametrize(
    ("row", "since", "ttl", "ok"),
    [
        ({}, 80.0, None, True),
        ({}, 95.0, None, False),
        ({}, None, 15.0, True),
        ({}, None, 3.0, False),
        ({"row_status": None}, 80.0, None, True),
        ({"row_status": "offline"}, 80.0, None, True),
        ({"row_status": "outdated"}, 80.0, None, False),
        ({"row_status": "updating"}, 80.0, None, False),
        ({"api_status": "offline"}, 80.0, None, False),
        ({"beat": None}, 80.0, None, False),
        ({"id": 8}, 80.0, None, False),
    ],
)
def test_judging_a_beat(
    row: dict[str, object], since: float | None, ttl: float | None, ok: bool
) -> None:
    seen = {"version": "v1.2.0", "workers": [{**ROW, **row}]}
    assert judge(seen, 7, "v1.2.0", since, ttl)[0] is ok


def test_another_version_on_the_server_is_no_proof() -> None:
    ok, told = judge({"version": "v1.1.0", "workers": [ROW]}, 7, "v1.2.0", 80.0, None)
    assert not ok
    assert "the server runs v1.1.0" in told
    assert judge({"version": "v1.2.0-dev", "workers": [ROW]}, 7, "v1.2.0", 80.0, None)[0]
    assert not judge({"version": "v1.2.0", "workers": [ROW]}, None, "v1.2.0", 80.0, None)[0]
