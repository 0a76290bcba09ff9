"""Passes one after the other on a simulated fleet: updates, failures, restarts, metrics."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path
from urllib.request import urlopen

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest

from stackpin.errors import Refused
from stackpin.fleet.backoff import Failure
from stackpin.fleet.decide import Policy
from stackpin.fleet.memory import Memory, default_path, exclusive, read, write
from stackpin.fleet.metrics import Metrics, parse_address
from stackpin.fleet.model import Tally
from stackpin.fleet.passes import Pass, one_pass
from stackpin.fleet.simulated import Clock, SimulatedFleet, digest_of
from stackpin.fleet.telling import Teller
from stackpin.fleet.watch import watch

OLD, NEW = "v1.1.0", "v1.2.0"


class Run:
    """A watch over a simulated fleet, its passes kept."""

    def __init__(self, number: int, tmp_path: Path, policy: Policy | None = None) -> None:
        self.clock = Clock()
        self.fleet = SimulatedFleet.of(number, OLD, self.clock)
        self.state = tmp_path / "watch.json"
        self.policy = policy or Policy(batch=2)
        self.memory = Memory()
        self.passes: list[Pass] = []
        self.said: list[str] = []

    def go(self, seconds: float) -> Pass:
        """Watch for that many simulated seconds."""
        self.clock.end = self.clock.now + seconds
        return watch(
            self.fleet, self.memory, self.policy, state=self.state, interval=30.0,
            clock=self.clock, stop=self.clock, shown=self.passes.append, say=self.said.append,
        )  # fmt: skip

    def tried(self, name: str) -> list[float]:
        return [at for at, node, _ in self.fleet.updates if node == name]


@pytest.fixture
def run(tmp_path):
    return Run(6, tmp_path)


def test_a_fleet_in_order_is_left_alone(run):
    last = run.go(3600)
    assert len(run.passes) > 100
    assert not run.fleet.updates
    assert last.exit_code() == 0


def test_a_new_pin_reaches_every_node_batch_after_batch(run):
    run.fleet.pin(NEW)
    last = run.go(200)
    assert last.counts["online"] == 7
    assert len(run.fleet.updates) == 6
    assert run.fleet.peak == 2
    # No waiting between batches that went well.
    assert run.tried("node006")[0] - run.tried("node001")[0] < 45


def test_the_server_comes_first(run):
    run.fleet.pin(NEW, server=False)
    run.go(300)
    assert not run.fleet.updates
    assert "update it first" in run.passes[-1].decision.halted
    run.fleet.pin(NEW)
    assert run.go(200).counts["online"] == 7


def test_an_unreachable_node_is_left_and_taken_up_when_it_is_back(run):
    run.fleet.change("node003", reachable=False)
    run.fleet.pin(NEW)
    last = run.go(200)
    assert last.exit_code() == 2
    assert last.decision.states["node003"].state == "offline"
    before = len(run.fleet.updates)
    run.fleet.change("node003", reachable=True)
    assert run.go(100).exit_code() == 0
    assert [name for _, name, _ in run.fleet.updates][before:] == ["node003"]


def test_a_failing_node_is_tried_after_1_2_4_minutes_and_at_most_every_30(run):
    run.fleet.fails = lambda node, _version: "rolled-back" if node.name == "node002" else ""
    run.fleet.pin(NEW)
    run.go(4 * 3600)
    tried = run.tried("node002")
    gaps = [(later - earlier) / 60 for earlier, later in itertools.pairwise(tried)]
    assert len(gaps) > 8
    for gap, wait in zip(
        gaps, itertools.chain((1, 2, 4, 8, 16), itertools.repeat(30)), strict=False
    ):
        assert wait <= gap <= wait + 1  # until the next look, and the try itself
    assert all(len(run.tried(f"node00{n}")) == 1 for n in (1, 3, 4, 5, 6))


def test_a_bad_version_stops_at_few_nodes_and_goes_on_when_it_is_replaced(tmp_path):
    run = Run(50, tmp_path, Policy(batch=2, max_failures=1))
    run.fleet.fails = lambda _node, version: "rolled-back" if version == "v1.4.0" else ""
    run.fleet.pin("v1.4.0")
    run.go(3600)
    assert {name for _, name, _ in run.fleet.updates} == {"node001", "node002"}
    assert run.passes[-1].exit_code() in {2, 4}
    run.fleet.pin(NEW)
    assert run.go(900).exit_code() == 0


def test_an_update_without_effect_is_no_storm(run):
    update = run.fleet.update

    def without_effect(nodes):
        before = run.fleet.nodes["node002"]
        found = update(nodes)
        run.fleet.nodes["node002"] = before
        return found

    run.fleet.update = without_effect
    run.fleet.pin(NEW)
    run.go(3600)
    assert 3 < len(run.tried("node002")) < 9
    assert "still is not what it should be" in run.memory.failures["node002"].error
    assert all(len(run.tried(f"node00{n}")) == 1 for n in (1, 3, 4, 5, 6))


def test_a_clock_set_back_does_not_end_the_tries(run):
    run.fleet.fails = lambda node, _version: "failed" if node.name == "node002" else ""
    run.fleet.pin(NEW)
    run.go(1000)
    before = len(run.tried("node002"))
    run.clock.now -= 86400
    run.go(1000)
    assert 0 < len(run.tried("node002")) - before < 8


def test_failures_survive_a_restart(run):
    run.fleet.fails = lambda _node, _version: "failed"
    run.fleet.pin(NEW)
    run.go(10)
    count = len(run.fleet.updates)
    run.memory = read(run.state)
    assert {one.failures for one in run.memory.failures.values()} == {1}
    run.go(20)
    assert len(run.fleet.updates) == count


def test_held_and_unreachable_nodes_do_not_back_off(run):
    run.fleet.fails = lambda node, _version: {"node001": "held", "node002": "unreachable"}.get(
        node.name, ""
    )
    run.fleet.pin(NEW)
    run.go(120)
    assert not run.memory.failures
    assert run.memory.tally.updates["held"] > 1


def test_a_look_that_fails_ends_nothing(run):
    run.fleet.broken = "inventories/prod.py: SyntaxError"
    last = run.go(120)
    assert last.exit_code() == 1
    assert "SyntaxError" in last.error
    run.fleet.broken = ""
    assert run.go(60).exit_code() == 0


def test_a_state_that_cannot_be_written_is_said_once_and_ends_nothing(run, tmp_path):
    run.state = tmp_path / "none" / "watch.json"
    run.go(120)
    assert len(run.passes) > 3
    assert len(run.said) == 1
    assert "will not survive a restart" in run.said[0]


def test_a_node_that_left_is_forgotten(run):
    run.memory.failures["gone"] = Failure("x", 3, 1.0, "failed")
    one_pass(run.fleet, run.memory, run.policy, run.clock)
    assert run.memory.failures == {}


def test_once_is_one_pass(run):
    run.fleet.pin(NEW)
    done = watch(
        run.fleet, run.memory, Policy(batch=9), state=None, interval=30.0, clock=run.clock,
        stop=run.clock, shown=run.passes.append, once=True,
    )  # fmt: skip
    assert len(run.passes) == 1
    assert done.exit_code() == 0
    assert {outcome.kind for outcome in done.outcomes.values()} == {"updated"}


def test_nothing_is_begun_when_it_is_time_to_stop(run):
    run.fleet.pin(NEW)
    done = one_pass(run.fleet, run.memory, run.policy, run.clock, stopping=lambda: True)
    assert not run.fleet.updates
    assert done.exit_code() == 2


def test_a_refused_rollout_backs_off_every_node_of_the_batch(run):
    def refuse(_nodes):
        raise Refused("registry.example.net: TLS")

    run.fleet.update = refuse
    run.fleet.pin(NEW)
    done = one_pass(run.fleet, run.memory, run.policy, run.clock)
    assert done.exit_code() == 3
    assert set(done.backoff) == {"node001", "node002"}


# --- the state file -----------------------------------------------------------------------------


# The first text of a process loads tables, which takes seconds on a busy machine.
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=20),
        st.builds(
            Failure, st.text(max_size=20), st.integers(1, 99), st.floats(0, 2e9), st.just("failed"),
            st.text(max_size=50),
        ),
        max_size=5,
    ),
    st.dictionaries(st.sampled_from(["updated", "failed"]), st.integers(0, 10**6)),
    st.integers(0, 10**6),
    st.one_of(st.none(), st.floats(0, 2e9)),
)  # fmt: skip
def test_the_state_file_keeps_everything(tmp_path_factory, failures, updates, lost, last):
    path = tmp_path_factory.mktemp("state") / "watch.json"
    memory = Memory(failures, Tally(updates, lost), last)
    write(path, memory)
    assert read(path) == memory
    assert [entry.name for entry in path.parent.iterdir()] == ["watch.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 2}', '{"version": 1}', "\udcff"])
def test_a_damaged_state_file_is_refused_with_what_to_do(tmp_path, text):
    path = tmp_path / "watch.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(Refused, match="Remove it: only waiting times"):
        read(path)


def test_an_absent_state_file_is_an_empty_memory(tmp_path):
    assert read(tmp_path / "none.json") == Memory()


def test_a_second_watch_on_one_state_is_refused(tmp_path):
    path = tmp_path / "state" / "watch.json"
    with exclusive(path), pytest.raises(Refused, match="another watch"), exclusive(path):
        pass
    with exclusive(path):
        pass


def test_each_inventory_has_a_state_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/stackpin-watch")
    one, other = default_path("inventories/prod.py"), default_path(f"{tmp_path}/prod.py")
    assert one != other
    assert one.parent == Path("/var/lib/stackpin-watch")
    assert one.name.startswith("watch-prod-xingrin-worker-")


# --- what is told -------------------------------------------------------------------------------


def samples(metrics: Metrics) -> dict[str, float]:
    lines = generate_latest(metrics.registry).decode().splitlines()
    return {k: float(v) for k, v in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def test_metrics_follow_the_fleet_and_forget_nodes_that_left(run):
    metrics = Metrics("prod", run.memory)
    run.fleet.fails = lambda node, _version: "failed" if node.name == "node002" else ""
    run.fleet.change("node003", reachable=False)
    run.fleet.pin(NEW)
    run.go(120)
    metrics.show(run.passes[-1])
    found = samples(metrics)
    assert found['stackpin_workers{inventory="prod",state="online"}'] == 5
    assert found['stackpin_workers{inventory="prod",state="offline"}'] == 1
    assert found['stackpin_workers{inventory="prod",state="outdated"}'] == 1
    assert found['stackpin_worker_differs{inventory="prod",node="node002"}'] == 1
    assert found['stackpin_worker_backoff_seconds{inventory="prod",node="node002"}'] > 0
    assert found['stackpin_watch_updates_total{inventory="prod",outcome="failed"}'] >= 1
    assert found['stackpin_watch_updates_total{inventory="prod",outcome="updated"}'] == 4
    assert found['stackpin_watch_server_ready{inventory="prod"}'] == 1
    assert found['stackpin_watch_up{inventory="prod"}'] == 1
    assert found['stackpin_watch_last_pass_time_seconds{inventory="prod"}'] > 0
    del run.fleet.nodes["node002"]
    run.go(60)
    metrics.show(run.passes[-1])
    assert "node002" not in generate_latest(metrics.registry).decode()


def test_a_pass_that_could_not_look_keeps_the_last_states(run):
    metrics = Metrics("prod", run.memory)
    run.go(1)
    metrics.show(run.passes[-1])
    run.fleet.broken = "no network"
    run.go(1)
    metrics.show(run.passes[-1])
    found = samples(metrics)
    assert found['stackpin_workers{inventory="prod",state="online"}'] == 7
    assert found['stackpin_watch_passes_total{inventory="prod",outcome="error"}'] == 1


def test_metrics_go_to_a_file_and_over_http(run, tmp_path):
    metrics = Metrics("prod", run.memory)
    file = tmp_path / "stackpin.prom"
    metrics.stopped()
    metrics.save(file)
    assert 'stackpin_watch_up{inventory="prod"} 0.0' in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o644
    with pytest.raises(Refused, match="--metrics-file"):
        metrics.save(tmp_path / "none" / "x.prom")
    with pytest.raises(Refused, match="--metrics 203"):
        metrics.serve("203.0.113.1", 9642)
    port = metrics.serve("127.0.0.1", 0)
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        assert b"stackpin_watch_up" in answer.read()


@pytest.mark.parametrize("text", ["9642", ":9642", "host:", "host:x", "host:70000"])
def test_a_bad_address_is_refused(text):
    with pytest.raises(Refused, match="expected HOST:PORT"):
        parse_address(text)


def test_addresses():
    assert parse_address("127.0.0.1:9642") == ("127.0.0.1", 9642)
    assert parse_address("[::1]:1") == ("::1", 1)


def test_only_news_are_told(run):
    teller = Teller()
    told: list[str] = []
    run.fleet.fails = lambda node, _version: "failed" if node.name == "node002" else ""
    run.go(600)
    for done in run.passes:
        told += teller.lines(done)
    assert len(told) == 8
    run.passes.clear()
    run.fleet.pin(NEW)
    run.go(60)
    told = [line for done in run.passes for line in teller.lines(done)]
    assert any(re.match(r"node002: failed: .*tried again in 60 s", line) for line in told)
    assert "node001: updated" in told


def test_a_pass_as_json_is_plain(run):
    run.fleet.pin(NEW)
    run.fleet.change("node001", lease=None, version=None, digest=digest_of("x"))
    run.go(40)
    for done in run.passes:
        document = json.loads(json.dumps(done.as_json()))
        assert sum(document["states"].values()) == len(document["nodes"]) == 7
        assert document["wanted"] == NEW
    assert json.loads(json.dumps(replace(run.passes[0], seen=None, decision=None).as_json()))
