"""The comparison as a section of the page: tables, ratios and what to know before reading them."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.peers.comparing import FAR, FIRST, MANY, NOTHING, ONE_FILE, Case, Cell, Results
from tests.bench.peers.programs import versions

__all__ = ["PLOT", "TITLE", "section"]

TITLE = "## 64 resources beside other tools"
PLOT = "images/benchmark-peers.svg"
OURS, BOUND = "stackpin", "bash"


def section(results: Results) -> list[str]:
    """Write the figures as Markdown lines."""
    return [
        TITLE,
        "",
        "One user, 12 directories, 20 templates, 10 files, a program of 15 MiB, 5 units with their "
        "services enabled and running, 5 packages, 3 links, an nginx site and a sysctl, declared "
        "once in `tests/bench/peers/state.py`. Every tool logs in as a user with sudo; after its "
        "first apply on a fresh host a program that belongs to none of them compares the host with "
        "the declaration. Hosts and operator share the machine's cores, which makes tools that "
        "work much on their hosts look slower with ten of them than they are where each host has "
        "cores of its own: compare processor time and round trips too. How to read "
        "it: [Read the benchmarks](how-to/read-benchmarks.md).",
        "",
        f"![Seconds until each tool says that there is nothing to do]({PLOT})",
        "",
        *([results.missing, ""] if results.missing else []),
        "### Nothing to do, 1 host",
        "",
        *_nothing(results),
        "### Nothing to do, 10 hosts",
        "",
        *_many(results),
        "### One file changed, 1 host",
        "",
        *_one_file(results),
        "### First apply on a bare host",
        "",
        *_first(results),
        "And the first deploy of the reference CRM and its portal, which is packages, files, a "
        "release that is rehearsed and gated, and for `stackpin` also preflight, lease, health and "
        "evidence. Stock pyinfra has none of that, so what is written with its own operations "
        "alone (`tests/bench/peers/site_pyinfra.py`) has no slots, rehearsal, gate, lease, backup "
        "or evidence either; more than half of its execs are the portal's pages, which "
        "`files.sync` brings one at a time. Each has to serve the portal and the CRM over HTTPS "
        "afterwards:",
        "",
        *_deploys(results),
        "### Ratios",
        "",
        *_ratios(results),
        f"With {versions()}. Ansible: forks 50, pipelining on, facts not gathered, a new master "
        "connection each run.",
        "",
    ]


def _rows(results: Results, *cases: Case) -> Iterator[tuple[str, list[Cell]]]:
    for tool in results.tools:
        cells = [results.of(case, tool.key) for case in cases]
        if all(cells):
            yield tool.name, [cell for cell in cells if cell]


def _nothing(results: Results) -> Iterator[str]:
    yield (
        f"| tool | wall s | wall s at {FAR} ms | round trips in a row | CPU s here | CPU s on the "
        "host | memory MiB | SSH execs | runs |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for name, (near, far) in _rows(results, Case(1, 0, NOTHING), Case(1, FAR, NOTHING)):
        trips = round((far.wall - near.wall) * 1000 / FAR)
        yield (
            f"| {name} | {near.wall:.2f} | {far.wall:.2f} | {trips} | {near.cpu:.2f} | "
            f"{near.host_cpu:.2f} | {near.memory >> 20} | {near.asked.execs} | "
            f"{near.runs}, {far.runs} |"
        )
    yield ""


def _many(results: Results) -> Iterator[str]:
    yield (
        f"| tool | wall s | wall s at {FAR} ms | CPU s here | CPU s per further host | CPU s on "
        "the hosts | memory MiB | SSH execs | runs |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    cases = (Case(1, 0, NOTHING), Case(MANY, 0, NOTHING), Case(MANY, FAR, NOTHING))
    for name, (one, near, far) in _rows(results, *cases):
        yield (
            f"| {name} | {near.wall:.2f} | {far.wall:.2f} | {near.cpu:.2f} | "
            f"{(near.cpu - one.cpu) / (MANY - 1):.2f} | {near.host_cpu:.2f} | "
            f"{near.memory >> 20} | {near.asked.execs} | {near.runs}, {far.runs} |"
        )
    yield ""


def _one_file(results: Results) -> Iterator[str]:
    yield f"| tool | wall s at {FAR} ms | CPU s here | CPU s on the host | SSH execs | runs |"
    yield "|---|---|---|---|---|---|"
    for name, (cell,) in _rows(results, Case(1, FAR, ONE_FILE)):
        yield (
            f"| {name} | {cell.wall:.2f} | {cell.cpu:.2f} | {cell.host_cpu:.2f} | "
            f"{cell.asked.execs} | {cell.runs} |"
        )
    yield ""


def _first(results: Results) -> Iterator[str]:
    yield f"| tool | wall s at {FAR} ms | CPU s here | CPU s on the host | SSH execs |"
    yield "|---|---|---|---|---|"
    for name, (cell,) in _rows(results, Case(1, FAR, FIRST)):
        yield (
            f"| {name} | {cell.wall:.1f} | {cell.cpu:.2f} | {cell.host_cpu:.2f} | "
            f"{cell.asked.execs} |"
        )
    yield ""


def _deploys(results: Results) -> Iterator[str]:
    yield f"| command | wall s at {FAR} ms | CPU s here | SSH connections | SSH execs |"
    yield "|---|---|---|---|---|"
    for one in results.deploys:
        yield (
            f"| {one.name} | {one.cost.wall:.1f} | {one.cost.cpu:.2f} | "
            f"{one.asked.connections} | {one.asked.execs} |"
        )
    yield ""


def _ratios(results: Results) -> Iterator[str]:
    """Each claim with what was measured, whether it holds or not."""
    yield "| aim | measured | |"
    yield "|---|---|---|"
    for rtt in (0, FAR):
        case = Case(1, rtt, NOTHING)
        for peer, least in (("ansible", 20), ("mitogen", 4)):
            yield from _ratio(
                results, case, peer, OURS, f"at least {least} times faster than", least
            )
        yield from _ratio(results, case, OURS, BOUND, "at most 2 times the time of", most=2)
    changed = Case(1, FAR, ONE_FILE)
    yield from _ratio(results, changed, OURS, BOUND, "at most 3 times the time of", most=3)
    one, many = (results.of(Case(hosts, 0, NOTHING), OURS) for hosts in (1, MANY))
    if not one or not many:
        return
    yield from _bound(f"{MANY} hosts within 3 times one host's time", many.wall / one.wall, 3, "x")
    yield from _bound("CPU here, 1 host, at most 0.7 s", one.cpu, 0.7, " s")
    further = (many.cpu - one.cpu) / (MANY - 1)
    yield from _bound("CPU here per further host, at most 0.12 s", further, 0.12, " s")
    memory = many.memory / 2**20
    yield from _bound(f"memory with {MANY} hosts, at most 90 MiB", memory, 90, " MiB")
    yield from _bound("SSH execs, nothing to do, 1", one.asked.execs, 1, "")
    if change := results.of(changed, OURS):
        yield from _bound("SSH execs, one file changed, at most 4", change.asked.execs, 4, "")
    ours, stock = (results.of(Case(1, FAR, FIRST), key) for key in (OURS, "pyinfra"))
    if ours and stock:
        yield _fewer("first apply", stock.asked.execs, ours.asked.execs)
    by_key = {one.key: one.asked.execs for one in results.deploys}
    if {OURS, "pyinfra"} <= by_key.keys():
        what = "the CRM's first deploy, pyinfra with its own operations"
        yield _fewer(what, by_key["pyinfra"], by_key[OURS])
    yield ""


def _ratio(
    results: Results, case: Case, above: str, below: str, words: str,
    least: float = 0, most: float = float("inf"),
) -> Iterator[str]:  # fmt: skip
    one, other = results.of(case, above), results.of(case, below)
    names = {tool.key: tool.name for tool in results.tools}
    if one and other:
        ratio = one.wall / other.wall
        peer = names[above if below == OURS else below]
        text = f"{case.what}, 1 host, {case.rtt} ms: {words} {peer}"
        yield _row(text, ratio, "x", least <= ratio <= most)


def _fewer(what: str, stock: int, ours: int) -> str:
    text = f"{what}: at least 5 times fewer SSH execs than pyinfra"
    return _row(text, stock / ours, "x", stock >= 5 * ours)


def _bound(text: str, found: float, most: float, unit: str) -> Iterator[str]:
    yield _row(text, found, unit, found <= most)


def _row(text: str, found: float, unit: str, holds: bool) -> str:
    shown = f"{found:g}" if isinstance(found, int) else f"{found:.2f}"
    return f"| {text} | {shown}{unit} | {'yes' if holds else '**no**'} |"
