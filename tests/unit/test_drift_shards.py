"""Shards of a drift check, and the report that is made of theirs."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from stackpin.care import shards
from stackpin.cli import main
from stackpin.drift.junit import junit_xml
from stackpin.drift.merging import merged, parsed
from stackpin.drift.prometheus import prometheus_text
from stackpin.drift.report import DriftReport, Finding, HostDrift, PendingOp, Release
from stackpin.drift.shards import Shard, split
from stackpin.errors import Refused

CREATED = "2026-11-21T22:45:00+00:00"

# --- strategies: sets of host names, and reports of everything that a report can hold
words = st.text(max_size=8)
texts = st.lists(words, max_size=2).map(tuple)
names = st.sets(st.text(st.characters(codec="utf-8"), min_size=1, max_size=12), max_size=40)
counts = st.integers(1, 12)
hosts = st.builds(
    HostDrift,
    releases=st.dictionaries(
        words, st.builds(Release, st.none() | words, st.none() | words), max_size=2
    ),
    pending=st.lists(st.builds(PendingOp, words, texts, texts), max_size=2).map(tuple),
    conditional=texts,
    in_sync_ops=texts,
    findings=st.lists(st.builds(Finding, words, words, words, words), max_size=2).map(tuple),
    error=st.none() | words,
)


def whole(found: dict[str, HostDrift], **more) -> DriftReport:
    return DriftReport("prod", "crm", CREATED, dict(sorted(found.items())), stackpin="1", **more)


def jobs(report: DriftReport, count: int) -> dict[str, DriftReport]:
    """What the jobs of a CI matrix make of it, by file."""
    among = tuple(sorted(report.hosts))
    found = {}
    for index in range(1, count + 1):
        shard = Shard(index, count)
        own = {name: report.hosts[name] for name in shard.of(among)}
        found[f"{index}.json"] = replace(report, hosts=own, shard=str(shard), among=among)
    return found


THREE = whole({name: HostDrift({}) for name in "abcdef"})


# --- which host is whose
@settings(deadline=None)
@given(names, counts)
def test_every_host_is_in_one_shard_and_shards_are_even(given_names, count):
    parts = split(given_names, count)
    assert sorted(parts[-1]) == Shard(count, count).of(given_names)
    assert sorted(name for part in parts for name in part) == sorted(given_names)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@settings(deadline=None)
@given(names, counts)
def test_the_order_of_the_inventory_does_not_matter(given_names, count):
    assert split(sorted(given_names), count) == split(sorted(given_names, reverse=True), count)


def test_the_same_hosts_fall_to_a_shard_on_every_machine():
    """The jobs of one check must agree, whatever Python or machine they run on."""
    assert Shard(2, 3).of([f"web{number}" for number in range(9)]) == ["web0", "web4", "web5"]


@pytest.mark.parametrize(("hosts", "count"), [(40, 4), (100, 8), (1000, 10)])
def test_a_host_more_moves_few_others(hosts, count):
    known = [f"web{number}.example" for number in range(hosts)]

    def places(given_names):
        return {name: at for at, part in enumerate(split(given_names, count)) for name in part}

    before = places(known)
    moved = []
    for number in range(10):
        after = places([*known, f"new{number}.example"])
        moved.append(sum(after[name] != before[name] for name in known))
    assert max(moved) <= 2 * count
    assert sum(moved) / len(moved) <= count / 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "0/4",
        "5/4",
        "-1/4",
        "1/0",
        "1/4/2",
        "a/b",
        "1 /4",
        "01/4",
        "1/4\n",
        "٢/٤",
        "1/100000",
    ],
)
def test_bad_shards_are_refused(text):
    with pytest.raises(Refused, match="expected I/N"):
        Shard.parse(text)


def test_a_shard_reads_back():
    assert str(Shard.parse("2/4")) == "2/4"


# --- merging
@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=8), hosts, max_size=8), texts, counts)
def test_merging_the_shards_gives_the_report_of_the_whole(found, notes, count):
    report = whole(found, notes=tuple(dict.fromkeys(notes)))
    printed = {
        file: parsed(file, json.dumps(shard.as_json()))
        for file, shard in jobs(report, count).items()
    }
    again = merged(printed)
    assert again == report
    assert again.exit_code == report.exit_code
    assert again.as_json() == report.as_json()
    assert junit_xml(again) == junit_xml(report)
    assert prometheus_text(again) == prometheus_text(report)


def test_an_empty_shard_is_in_sync_but_an_empty_check_is_not():
    assert whole({}, shard="3/3", among=("a",)).exit_code == 0
    assert whole({}).exit_code == 1


def test_a_merged_report_is_as_old_as_its_oldest_shard():
    files = jobs(THREE, 2)
    older = "2026-11-20T00:00:00+00:00"
    files["1.json"] = replace(files["1.json"], created=older)
    assert merged(files).created == older


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inventory": "staging"}, "another inventory than 1.json: staging, not prod"),
        ({"stack": "portal"}, "another stack than 1.json: portal, not crm"),
        ({"stackpin": "2"}, "another version of Stackpin than 1.json: 2, not 1"),
        ({"shard": "2/4"}, "another number of shards than 1.json: 4, not 3"),
        ({"among": ("a", "b")}, "another list of hosts than 1.json$"),
        ({"shard": "1/3"}, "shard 1/3 again; 1.json has it too"),
        ({"hosts": THREE.hosts}, "a host is in two of the reports"),
    ],
)
def test_what_is_not_of_one_check_is_refused(change, message):
    files = jobs(THREE, 3)
    files["2.json"] = replace(files["2.json"], **change)
    with pytest.raises(Refused, match=message):
        merged(files, partial=True)


def test_a_missing_shard_is_refused_and_with_partial_its_hosts_are_not_checked():
    files = jobs(THREE, 3)
    lost = files.pop("2.json")
    with pytest.raises(Refused, match=r"missing: shard 2/3; .*--partial"):
        merged(files)
    report = merged(files, partial=True)
    assert list(report.hosts) == list("abcdef")
    assert {name for name, host in report.hosts.items() if host.error} == set(lost.hosts)
    assert report.exit_code == 1
    assert "missing: shard 2/3" in junit_xml(report)


def test_a_report_that_lost_a_host_is_not_in_sync():
    files = jobs(THREE, 2)
    cut = dict(files["1.json"].hosts)
    name, _ = cut.popitem()
    report = merged({**files, "1.json": replace(files["1.json"], hosts=cut)})
    assert report.hosts[name].error == "in none of the reports"
    assert report.exit_code == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not what"),
        ("[]", "not what"),
        ('{"version": 1}', "not what"),
        (json.dumps({**THREE.as_json(), "version": 2}), "of version 2, not 1"),
        (json.dumps(THREE.as_json()), "the report of a whole check"),
        (json.dumps({**THREE.as_json(), "shard": "4/3"}), "expected I/N"),
        (json.dumps({**THREE.as_json(), "created": "today"}), "not what"),
        ('{"error": {"message": "no such inventory"}}', "that check failed: no such inventory"),
    ],
)
def test_other_documents_are_refused(text, message):
    with pytest.raises(Refused, match=message):
        parsed("x.json", text)


# --- the command
def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["drift", *arguments])
    return result.exit_code, result.output


@pytest.fixture
def written(tmp_path):
    """The printed reports of three shards: one host drifts."""
    report = replace(
        THREE, hosts={**THREE.hosts, "b": HostDrift({}, findings=(Finding("c", "odd", "", ""),))}
    )
    for file, shard in jobs(report, 3).items():
        head = {"command": "drift", "ok": False, "exit": shard.exit_code}
        (tmp_path / file).write_text(json.dumps({**head, **shard.as_json()}))
    return tmp_path


def test_the_command_writes_what_a_whole_check_would(written):
    files = [str(written / f"{index}.json") for index in (3, 1, 2)]
    code, output = run(
        "merge",
        *files,
        "--json",
        "--junit",
        f"{written}/d.xml",
        "--prometheus",
        f"{written}/d.prom",
    )
    assert code == 2
    document = json.loads(output[output.index("{") : output.rindex("}") + 1])
    assert (document["command"], document["exit"], document["result"]) == ("merge", 2, "drift")
    assert list(document["hosts"]) == list("abcdef")
    assert 'failures="1"' in (written / "d.xml").read_text()
    assert 'in_sync{host="b",inventory="prod",stack="crm"} 0.0' in (written / "d.prom").read_text()


def test_a_job_that_failed_is_named_and_with_partial_left_out(written):
    (written / "2.json").write_text('{"exit": 3, "error": {"message": "no such group"}}')
    files = [str(written / f"{index}.json") for index in (1, 2, 3)]
    code, output = run("merge", *files)
    assert (code, "2.json: no report, that check failed: no such group" in output) == (3, True)
    code, output = run("merge", "--partial", *files)
    assert code == 1
    assert "2.json: no report" in output
    assert "missing: shard 2/3" in output


@pytest.mark.parametrize(
    "arguments", [["merge"], ["merge", "/nowhere.json"], ["x", "y", "--shard", ""]]
)
def test_wrong_questions_exit_3(arguments):
    assert run(*arguments)[0] == 3


# --- what a shard's check asks
@pytest.fixture
def inventory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fleet.py").write_text("web = [f'w{number}' for number in range(5)]\n")
    asked: list[list[str]] = []

    def check(inventory, stack, limit, data):
        asked.append(list(limit))
        return whole({name: HostDrift({}) for name in limit})

    monkeypatch.setattr(shards, "check_drift", check)
    return asked


def test_each_host_is_asked_by_one_shard(inventory):
    reports = [shards.check_shard("fleet.py", "crm", (), {}, Shard(i, 2)) for i in (1, 2)]
    assert sorted(inventory[0] + inventory[1]) == [f"w{number}" for number in range(5)]
    assert reports[0].shard == "1/2"
    assert reports[0].among == reports[1].among == tuple(f"w{number}" for number in range(5))


def test_only_hosts_of_the_limit_are_split(inventory):
    report = shards.check_shard("fleet.py", "crm", ("w1", "w3"), {}, Shard(1, 1))
    assert report.among == ("w1", "w3")
    assert inventory == [["w1", "w3"]]


def test_a_shard_without_hosts_asks_nobody_and_says_so(inventory):
    reports = [shards.check_shard("fleet.py", "crm", ("w1",), {}, Shard(i, 2)) for i in (1, 2)]
    assert inventory == [["w1"]]
    empty = next(report for report in reports if not report.hosts)
    assert empty.exit_code == 0
    assert "no host falls to shard" in empty.notes[0]


def test_a_group_with_a_hosts_name_is_refused(inventory, tmp_path):
    (tmp_path / "fleet.py").write_text("web = ['a', 'b']\na = ['b']\n")
    with pytest.raises(Refused, match="rename the group"):
        for index in (1, 2):
            shards.check_shard("fleet.py", "crm", (), {}, Shard(index, 2))
