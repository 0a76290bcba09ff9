"""What users of InfraCore notice of an upgrade: ours in both modes, and Compose by hand."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stackpin.lab import Lab
from stackpin.lab.apps.infracore.build import build
from stackpin.lab.load import Result
from stackpin.lab.traffic import gate_traffic
from tests.bench.fleet import GATE, REPOSITORY
from tests.lab.project import STACKPIN, clone, flags, run

__all__ = ["TITLE", "Row", "measure", "section"]

TITLE = "## Upgrading InfraCore under load"
INVENTORY = "inventories/infra"
HOST = "infra"
VERSIONS = ("v1.0.0", "v1.1.0")
ROUNDS = 2
RATE = 60.0  # requests per second
PAUSE = 2.0  # seconds between two upgrades, so that clients reach a steady state
SETTINGS = {"infracore_gate": GATE, "infracore_drain_seconds": 3}
CONFIGS = "/opt/infra-core/current/configs/production.yaml"
PROJECT = "/srv/infra-core"

# The product's Compose file in short. Its one container for five services has one network, so here
# all share the host's. Only the gate is root: it binds port 80.
SERVICE = """\
  {service}:
    image: {prefix}/infracore-{service}:${{TAG:?}}
    user: "{user}"
    network_mode: host
    restart: unless-stopped
    environment: {{INFRA_CORE_ENV: production, INFRA_CORE_JWT_SECRET: a-secret-of-this-benchmark}}
    volumes: ["infra_data:/var/lib/infra-core", "./configs:/app/configs:ro"]
"""
SERVICES = ("console", "gate", "orchestrator", "probe", "snap")


@dataclass(frozen=True)
class Row:
    """One way of upgrading, under the same load."""

    way: str
    upgrades: int
    result: Result


def measure(lab: Lab, folder: Path) -> Iterator[Row]:
    """Upgrade and go back, ROUNDS times each way, one way after the other on one host."""
    build(REPOSITORY / "artifacts" / "infracore", VERSIONS)
    clone(folder)
    lab.up(names=[HOST], docker=True)
    lab.registry.start()
    lab.registry.push([f"infracore:{version}" for version in VERSIONS])

    yield _ours(lab, folder, "Stackpin, systemd units", "systemd")
    configs = lab.run(HOST, ["cat", CONFIGS]).stdout
    lab.reset(HOST)
    yield _ours(lab, folder, "Stackpin, Compose", "compose")
    lab.reset(HOST)
    with _by_hand(lab, configs) as compose:
        down_up = (("down",), ("up", "-d"))
        yield _row(lab, "`docker compose down`, then `up -d` (the product's way)", compose, down_up)
        yield _row(lab, "`docker compose up -d` alone", compose, down_up[1:])


def _loaded(lab: Lab, way: str, change: Callable[[], None]) -> Row:
    with gate_traffic(lab, HOST, rate=RATE) as load:
        time.sleep(PAUSE)
        change()
        time.sleep(PAUSE)
        return Row(way, 2 * ROUNDS, load.stop())


def _ours(lab: Lab, folder: Path, way: str, mode: str) -> Row:
    def stackpin(command: str, *words: str) -> None:
        argv = [STACKPIN, command, INVENTORY, "infracore", *words]
        argv += flags({**SETTINGS, "infracore_mode": mode})
        ran = run(argv, folder, {}, timeout=900)
        if ran.code != 0:
            raise RuntimeError(f"{argv}: exit {ran.code}\n{ran.text}")

    def change() -> None:
        for _ in range(ROUNDS):
            stackpin("update", "--version", VERSIONS[1], "--yes")
            time.sleep(PAUSE)
            stackpin("rollback", "--yes")
            time.sleep(PAUSE)

    if mode == "compose":
        stackpin("pin", "--version", VERSIONS[0])
    stackpin("deploy", "--yes")
    return _loaded(lab, way, change)


Compose = Callable[..., None]
"""Runs `docker compose` with a version and words."""


@contextmanager
def _by_hand(lab: Lab, configs: str) -> Iterator[Compose]:
    """Have the five services in one project; images of both versions are pulled before."""
    lab.run(HOST, "systemctl disable --quiet --now nginx")  # gate binds port 80 itself
    lab.registry.trust(HOST)
    prefix = f"{lab.registry.address}/infracore"
    text = "".join(
        SERVICE.format(service=name, prefix=prefix, user="0:0" if name == "gate" else "1001:1001")
        for name in SERVICES
    )
    files = {
        "docker-compose.yml": f"services:\n{text}volumes: {{infra_data: {{}}}}\n",
        "configs/production.yaml": configs,
    }
    lab.run(HOST, ["mkdir", "-p", f"{PROJECT}/configs"])
    for name, content in files.items():
        lab.run(HOST, f"printf %s {shlex.quote(content)} >{PROJECT}/{name}")

    def compose(version: str, *words: str) -> None:
        lab.run(
            HOST,
            f"cd {PROJECT} && DOCKER_CONFIG=/etc/stackpin/docker TAG={version} "
            f"docker compose {shlex.join(words)}",
            timeout=600,
        )

    for version in reversed(VERSIONS):
        compose(version, "pull", "-q")
    compose(VERSIONS[0], "up", "-d")
    _wait(lab)
    yield compose
    compose(VERSIONS[0], "down", "-v")


def _row(lab: Lab, way: str, compose: Compose, steps: tuple[tuple[str, ...], ...]) -> Row:
    def change() -> None:
        for _ in range(ROUNDS):
            for version in reversed(VERSIONS):
                for words in steps:
                    compose(version, *words)
                _wait(lab)
                time.sleep(PAUSE)

    return _loaded(lab, way, change)


def _wait(lab: Lab) -> None:
    """Until the gate passes on that the console is healthy."""
    lab.run(
        HOST,
        "for i in $(seq 300); do curl -sf http://127.0.0.1/api/v1/health >/dev/null && exit 0; "
        "sleep 0.2; done; exit 1",
        timeout=120,
    )


def section(rows: list[Row]) -> list[str]:
    """Write the figures as Markdown lines."""
    lines = [
        TITLE,
        "",
        f"{VERSIONS[0]} to {VERSIONS[1]} and back, all five services, all ways in one run on one "
        f"host, with {RATE:.0f} requests a second from 32 keep-alive and 8 one-shot connections "
        "to gate's port 80. They read the interface and health, and register "
        "users; nothing is repeated, and every reset, wrong status, wrong body and missing answer "
        "is a failure. *Lost users* were told 201 and cannot log in afterwards. *Longest gap* is "
        "the most time between two good answers with a failure between them.",
        "",
        "How to read it: for Compose alone both versions' images are on the host before, and an "
        "upgrade ends when gate answers again. Stackpin rehearses and gates every service: it "
        "interrupts less, it is not faster, and has more requests for that reason. A client waits "
        "for its turn after a failure as after an answer, so failures grow with the length of an "
        "outage. The orchestrator is not asked through gate: the moment in which it stops before "
        "its successor starts, as it does by default, is not in these figures.",
        "",
        "| way | upgrades | requests | failed | lost users | longest gap, s |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        found = row.result
        lost = "unknown" if found.lost is None else len(found.lost)
        lines.append(
            f"| {row.way} | {row.upgrades} | {found.requests:,} | {found.failed:,} | {lost} | "
            f"{found.longest_gap:.2f} |"
        )
    return [*lines, ""]
