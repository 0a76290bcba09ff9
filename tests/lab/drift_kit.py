"""Drift injected into a real host, and all who must see it: drift, plan, stock pyinfra."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Self

from project import PYINFRA, Project, Ran, run
from stock_host import plain

TABLES = Path(__file__).parent / "drift_kinds"
KEPT = "/root/kept"
UNBATCHED = {"STACKPIN_FACTS": "single"}


@dataclass(frozen=True)
class Kind:
    """One way in which a host comes to differ, and the shell commands that do and undo it.

    `found` is what a report then says: "kind subject" of a change, "code: message" of a finding,
    with * and ? as in file names. Each must be said, and nothing that no kind of a group names.
    """

    name: str
    inject: str
    undo: str
    found: tuple[str, ...]

    @classmethod
    def read(cls, name: str, inject: str, found: list[str], undo: str = "", path: str = "") -> Self:
        """Make one of a table: with `path`, $p in the others, that is saved and put back."""
        if path:
            inject = f"p={path}; mkdir -p {KEPT}; cp -a --parents $p {KEPT}; {inject}"
            undo = f"{undo or 'true'}; p={path}; rm -rf $p; cp -a {KEPT}$p $p"
        return cls(name, inject, undo, tuple(one.replace("$p", path) for one in found))


def kinds(host: str) -> dict[str, list[Kind]]:
    """Read the kinds of one host's table by group: each group is injected together."""
    tables = tomllib.loads((TABLES / f"{host}.toml").read_text())
    return {group: [Kind.read(**one) for one in table] for group, table in tables.items()}


@contextmanager
def injected(project: Project, kinds: Sequence[Kind]) -> Iterator[None]:
    """Have all `kinds` on the host meanwhile."""
    project.on_host(f"rm -rf {KEPT}")
    try:
        project.on_host("".join(f"{_step(kind.name, kind.inject)} || exit 1\n" for kind in kinds))
        yield
    finally:
        steps = [f"{_step(kind.name, kind.undo)} || bad=1" for kind in reversed(kinds)]
        project.on_host("\n".join([*steps, "systemctl daemon-reload", "exit ${bad:-0}"]))


def _step(name: str, command: str) -> str:
    """Run in a shell of its own, and say which one fails."""
    said = shlex.quote(f"failed: {name}: {command}")
    return f"{{ bash -ec {shlex.quote(command)} || {{ echo {said} >&2; false; }}; }}"


@dataclass(frozen=True)
class Views:
    """What each way of asking said of one host at one time."""

    drift: Ran
    plan: Ran
    single: Ran
    stock: Ran


def ask(project: Project, stack: str, deploy: str) -> Views:
    """Ask all four, which change nothing, at once."""
    drift = project.argv("drift", stack, "--json")
    plan = project.argv("plan", stack, "--json")
    dry = project.argv("plan", stack, "--dry")
    stock = [PYINFRA, dry[2], f"deploys/{deploy}.py", *dry[4:]]
    env = project.ENVIRONMENT
    asked = [(drift, env), (plan, env), (plan, {**env, **UNBATCHED}), (stock, env)]
    with ThreadPoolExecutor(len(asked)) as pool:
        futures = [
            pool.submit(run, argv, project.folder, one, project.TIMEOUT) for argv, one in asked
        ]
        return Views(*(future.result() for future in futures))


def said(host: Mapping[str, Any]) -> list[str]:
    """List what a drift report says of a host, as `Kind.found` does."""
    changes = [line.partition(": ")[0] for op in host["pending"] for line in op["summary"]]
    return changes + [f"{one['code']}: {one['message']}" for one in host["findings"]]


def changes(document: Mapping[str, Any], host: str, *verdicts: str) -> set[str]:
    """Return the names of a plan's operations with one of `verdicts`."""
    return {op["name"] for op in document["hosts"][host]["ops"] if op["verdict"] in verdicts}


def predicted(stock: Ran) -> set[str]:
    """Return the names of the operations that `pyinfra --dry` says would, or might, change."""
    rows = re.findall(r"^    (\S.*?) {2,}(1 \(.*?\)|-) +(1 \(.*?\)|-) *$", plain(stock.text), re.M)
    assert rows, stock.text
    return {name.rpartition("| ")[2] for name, *counts in rows if counts != ["-", "-"]}


def all_found(project: Project, stack: str, deploy: str, kinds: Sequence[Kind]) -> None:
    """Inject `kinds` together: each is found, nothing else is, and everybody agrees."""
    with injected(project, kinds):
        views = ask(project, stack, deploy)
    told(project, views.drift, kinds)
    agree(project, views)
    in_sync(project, stack)


def told(project: Project, drift: Ran, kinds: Sequence[Kind]) -> None:
    """Assert that a drift run tells of each of `kinds`, and of nothing else."""
    lines = said(drift.exits(2).json["hosts"][project.host.name])
    patterns = [(kind.name, pattern) for kind in kinds for pattern in kind.found]
    missed = [one for one in patterns if not any(fnmatchcase(line, one[1]) for line in lines)]
    invented = [line for line in lines if not any(fnmatchcase(line, p) for _, p in patterns)]
    assert (missed, invented) == ([], []), "\n".join(sorted(lines))


def agree(project: Project, views: Views) -> None:
    """Assert that drift, plan, the plan with facts read one by one, and stock pyinfra agree."""
    plan = views.plan.json["plan"]
    single = views.single.json["plan"]
    assert {**plan, "created": ""} == {**single, "created": ""}
    name = project.host.name
    pending = {op["name"] for op in views.drift.json["hosts"][name]["pending"]}
    assert pending == changes(plan, name, "change")
    views.plan.exits(2 if pending else 0)
    assert predicted(views.stock.exits(0)) == changes(plan, name, "change", "conditional")


def refused(project: Project, stack: str, kind: Kind) -> None:
    """Assert that the host cannot be compared, which is an error, and that it is said why."""
    with injected(project, [kind]):
        report = project.stackpin("drift", stack, "--json").exits(1).json
    error = str(report["hosts"][project.host.name]["error"])
    assert all(fnmatchcase(error, pattern) for pattern in kind.found), error
    in_sync(project, stack)


def stays_in_sync(project: Project, stack: str, disturbances: Sequence[str]) -> None:
    """Assert that nothing is found, asked again and again, and right after each disturbance."""
    for _ in range(5):
        in_sync(project, stack)
    for command in disturbances:
        project.on_host(command)
        in_sync(project, stack)


def in_sync(project: Project, stack: str) -> None:
    """Assert that the host is as declared, and nothing is found odd."""
    report = project.stackpin("drift", stack, "--json").exits(0).json
    assert said(report["hosts"][project.host.name]) == []
