"""The comparison's page: what was measured is told, kept aims and missed ones alike."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from tests.bench.fleet import Cost
from tests.bench.peers.comparing import FAR, FIRST, MANY, NOTHING, ONE_FILE, Case, Cell, Results
from tests.bench.peers.first_deploy import Deploy
from tests.bench.peers.measuring import Asked
from tests.bench.peers.plot import plot
from tests.bench.peers.section import section
from tests.bench.peers.state import STATE, lay_out, rendered
from tests.bench.peers.tools import HERE, tools

SECONDS = {
    "ansible": 24.0, "mitogen": 6.0, "pyinfra": 6.4, "pyinfra_nodelay": 2.4,
    "stackpin_pyinfra": 1.2, "stackpin": 1.0, "bash": 0.6,
}  # fmt: skip
CASES = [Case(hosts, rtt, NOTHING) for hosts in (1, MANY) for rtt in (0, FAR)]
CASES += [Case(1, FAR, ONE_FILE), Case(1, FAR, FIRST)]


@pytest.fixture
def results(tmp_path) -> Results:
    found = Results(tools(tmp_path))
    for tool in found.tools:
        for case in CASES:
            wall = SECONDS[tool.key] * (2 if case.rtt else 1)
            cell = Cell(wall, 0.5, 1.0, 5, 80 << 20, Asked(1, 1))
            found.cells[case, tool.key] = cell
    cost = Cost(10.0, 2.0, 40)
    found.deploys = [
        Deploy("stackpin", "ours", cost, Asked(2, 8)),
        Deploy("pyinfra_ours", "stock, ours", cost, Asked(1, 80)),
        Deploy("pyinfra", "stock", cost, Asked(1, 39)),
    ]
    return found


def test_aims_kept_and_missed_are_told(results: Results) -> None:
    lines = section(results)
    near = "| nothing to do, 1 host, 0 ms: at least 20 times faster than Ansible | 24.00x | yes |"
    assert near in lines
    cell = results.cells[CASES[0], "stackpin"]
    results.cells[CASES[0], "stackpin"] = replace(cell, wall=1.3, asked=Asked(1, 2))
    lines = section(results)
    assert near.replace("24.00x | yes", "18.46x | **no**") in lines
    assert "| SSH execs, nothing to do, 1 | 2 | **no** |" in lines
    fewer = (
        "| the CRM's first deploy, pyinfra with its own operations: "
        "at least 5 times fewer SSH execs than pyinfra "
    )
    assert fewer + "| 4.88x | **no** |" in lines  # 39 / 8: not our deploy file's 80
    assert "| stock, ours | 10.0 | 2.00 | 1 | 80 |" in lines


def test_round_trips_are_the_difference_by_the_delay(results: Results) -> None:
    row = next(line for line in section(results) if line.startswith("| one bash script | 0.60"))
    assert row.split(" | ")[1:4] == ["0.60", "1.20", "15"]


def test_tools_that_are_missing_are_left_out_and_named(results: Results) -> None:
    results.tools = tools(None)
    there = {tool.key for tool in results.tools}
    results.cells = {key: cell for key, cell in results.cells.items() if key[1] in there}
    results.missing = "Ansible and Mitogen could not be installed: no route"
    text = "\n".join(section(results))
    assert "no route" in text
    assert "| Ansible" not in text
    assert "faster than" not in text


def test_the_picture_is_well_formed_and_has_every_bar(results: Results) -> None:
    root = ElementTree.fromstring(plot(results))  # noqa: S314 -- our own text
    bars = root.findall("{http://www.w3.org/2000/svg}rect")
    assert len(bars) == 2 + 4 * len(SECONDS)  # two in the legend
    assert all(float(bar.get("width", "0")) > 0 for bar in bars)


def test_one_edition_and_the_next_differ_in_one_file() -> None:
    changed = [file for file in STATE.templates if rendered(file, 1) != rendered(file, 2)]
    assert len(changed) == 1
    assert len(STATE) == 64


def test_the_script_is_valid_and_the_sources_are_the_same_each_time(tmp_path) -> None:
    subprocess.run(["bash", "-n", str(HERE / "converge.sh")], check=True)
    sums = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        sums.add(lay_out(tmp_path / name))
    assert len(sums) == 1
