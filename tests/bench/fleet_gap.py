"""How long the server's API is away during an update: ours, and the way its own scripts do it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stackpin.lab import Lab
from stackpin.lab.prober import Probed, probing
from tests.lab.project import clone, flags, run

__all__ = ["Row", "measure", "section"]

INVENTORY = "inventories/fleet"
NODES = 2
VERSIONS = ("v1.1.0", "v1.2.0")
TIMES = 3
GATE = {"settle": 0.5, "min_healthy": 2.0, "interval": 0.5, "consecutive": 2, "timeout": 60.0}
PATH = "/api/"
PORT = 8083

# The product's own Compose file in short: health asked every 30 s, the interface waits for it.
COMPOSE = """\
services:
  postgres:
    image: {prefix}/postgres:17
    environment: {{POSTGRES_DB: xingrin, POSTGRES_USER: postgres, POSTGRES_PASSWORD: seed}}
    healthcheck:
      {{test: [CMD-SHELL, pg_isready -U postgres], interval: 5s, timeout: 5s, retries: 5}}
    volumes: [postgres_data:/var/lib/postgresql/data]
    restart: always
  redis:
    image: {prefix}/redis:8
    healthcheck: {{test: [CMD, redis-cli, ping], interval: 5s, timeout: 5s, retries: 5}}
    restart: always
  server:
    image: {prefix}/xingrin-server:${{IMAGE_TAG:?}}
    environment:
      {{DB_HOST: postgres, DB_PORT: 5432, DB_NAME: xingrin, DB_USER: postgres, DB_PASSWORD: seed,
       REDIS_HOST: redis, REDIS_PORT: 6379, SECRET_KEY: seed, IMAGE_TAG: "${{IMAGE_TAG}}",
       PUBLIC_HOST: server, PUBLIC_PORT: 8083, DOCKER_USER: "{prefix}"}}
    healthcheck:
      {{test: [CMD, curl, -f, "http://localhost:8888/api/"],
       interval: 30s, timeout: 10s, retries: 3, start_period: 60s}}
    depends_on: {{redis: {{condition: service_healthy}}}}
    restart: always
  frontend:
    image: {prefix}/xingrin-frontend:${{IMAGE_TAG}}
    depends_on: {{server: {{condition: service_healthy}}}}
    restart: always
  nginx:
    image: {prefix}/xingrin-nginx:${{IMAGE_TAG}}
    ports: ["8083:8083"]
    volumes: ["./ssl:/etc/nginx/ssl:ro"]
    depends_on: {{server: {{condition: service_healthy}}, frontend: {{condition: service_started}}}}
    restart: always
volumes: {{postgres_data: {{}}}}
"""


@dataclass(frozen=True)
class Row:
    """One way of updating: `gaps` in seconds, one per update; `failed` requests of `requests`."""

    way: str
    gaps: tuple[float, ...]
    failed: int
    requests: int


def measure(lab: Lab, folder: Path) -> Iterator[Row]:
    """Update to and fro, TIMES times each way, in one run on one machine."""
    lab.fleet(NODES)
    lab.registry.start()
    lab.registry.push(VERSIONS)
    yield _row("stackpin update", _ours(lab, folder))
    yield _row("stop, pull, start (the product's update.sh)", _theirs(lab))


def _row(way: str, probes: Iterator[Probed]) -> Row:
    found = list(probes)
    failed = sum(len(one.failures) for one in found)
    total = failed + sum(one.good for one in found)
    return Row(way, tuple(one.gap for one in found), failed, total)


def _ours(lab: Lab, folder: Path) -> Iterator[Probed]:
    clone(folder)

    def stackpin(*words: str) -> None:
        argv = [sys.executable, "-m", "stackpin", words[0], INVENTORY, "xingrin", *words[1:]]
        ran = run([*argv, *flags({"xingrin_gate": GATE})], folder, {}, timeout=900)
        if ran.code != 0:
            raise RuntimeError(f"{argv}: exit {ran.code}\n{ran.text}")

    stackpin("pin", "--version", VERSIONS[0])
    stackpin("deploy", "--yes")
    address = lab.host("server").address
    for number in range(TIMES):
        version = VERSIONS[(number + 1) % 2]
        with probing(address, PORT, PATH) as probed:
            time.sleep(1)
            stackpin("update", "--version", version, "--allow-downgrade", "--yes")
            time.sleep(1)
        yield probed


def _theirs(lab: Lab) -> Iterator[Probed]:
    """The host's images of the new version are removed before each update, as for a new one."""
    lab.down(["server"])
    lab.up(names=["seed"], docker=True)
    lab.registry.trust("seed")
    prefix = f"{lab.registry.address}/{lab.registry.namespace}"
    lab.run(
        "seed",
        "mkdir -p /srv/docker/ssl && cd /srv/docker && cat >docker-compose.yml <<'EOF'\n"
        + COMPOSE.format(prefix=prefix)
        + "\nEOF\nopenssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj /CN=localhost "
        "-keyout ssl/privkey.pem -out ssl/fullchain.pem 2>/dev/null",
    )
    _compose(lab, VERSIONS[0], "up -d --quiet-pull")
    address = lab.host("seed").address
    for number in range(TIMES):
        version = VERSIONS[(number + 1) % 2]
        lab.run(
            "seed",
            f"docker images -q --filter reference='*/*/*:{version}' | xargs -r docker rmi -f",
        )
        with probing(address, PORT, PATH) as probed:
            time.sleep(1)
            _compose(lab, version, "down")
            _compose(lab, version, "pull -q")
            _compose(lab, version, "up -d")
            before = probed.good
            while probed.good < before + 20:
                time.sleep(0.2)
        yield probed


def _compose(lab: Lab, version: str, words: str) -> None:
    lab.run(
        "seed",
        f"cd /srv/docker && DOCKER_CONFIG=/etc/stackpin/docker IMAGE_TAG={version} "
        f"docker compose {words}",
        timeout=600,
    )


def section(rows: list[Row]) -> list[str]:
    """Write the figures as Markdown lines."""
    lines = [
        "## The server's API during an update of the fleet",
        "",
        f"{TIMES} updates each way in one run on this machine: a new TLS connection to `{PATH}` "
        "every 50 ms through nginx; a gap is the time from the last good answer before a failure "
        "to the first one after it. The images of the new version are not on the host before. The "
        "product's way keeps its health check every 30 s, for which its nginx waits.",
        "",
        "| way | updates | requests | failed | gaps, s |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        gaps = ", ".join(f"{gap:.2f}" for gap in row.gaps)
        lines.append(
            f"| {row.way} | {len(row.gaps)} | {row.requests:,} | {row.failed:,} | {gaps} |"
        )
    return [*lines, ""]
