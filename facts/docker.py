"""What docker on a host was told, what it does, and what a node knows of its registration."""

# ruff: noqa: D102 - what default, command and process do is told once, by pyinfra
from __future__ import annotations

import base64
import json
import shlex
from dataclasses import dataclass
from typing import Any

from pyinfra.api.facts import FactBase

from facts.stacks import PROGRAM

DAEMON_FILE = "/etc/docker/daemon.json"


@dataclass(frozen=True)
class DaemonState:
    """docker's settings: `text` of its file (None: absent) and the mirrors it uses now.

    `mirrors` is None where no daemon answers.
    """

    text: str | None = None
    mirrors: list[str] | None = None

    def settings(self) -> dict[str, Any]:
        """Return the file's settings. Raises ValueError when it is no JSON object."""
        found = json.loads(self.text) if self.text and self.text.strip() else {}
        if not isinstance(found, dict):
            raise ValueError("not a JSON object")
        return found


class Daemon(FactBase[DaemonState]):
    """The daemon's file and the mirrors in force, in one command."""

    @staticmethod
    def default() -> DaemonState:
        return DaemonState()

    def command(self) -> str:
        return (
            f"if [ -f {DAEMON_FILE} ]; then echo file=$(base64 -w0 {DAEMON_FILE}); fi;"
            " if command -v docker >/dev/null; then timeout 20 docker info -f"
            " 'mirrors={{json .RegistryConfig.Mirrors}}' 2>/dev/null; fi; true"
        )

    def process(self, output: list[str]) -> DaemonState:
        values = dict(line.split("=", 1) for line in output if "=" in line)
        body = base64.b64decode(values.get("file", ""))
        text = body.decode(errors="replace") if "file" in values else None
        try:
            mirrors = json.loads(values.get("mirrors", "null"))
        except ValueError:
            mirrors = None
        found = [str(m).rstrip("/") for m in mirrors] if isinstance(mirrors, list) else None
        if found is None and "mirrors" in values:
            found = []  # docker writes null for none
        return DaemonState(text, found)


class Volumes(FactBase[list[str]]):
    """Names of docker's volumes; empty where docker is not there."""

    @staticmethod
    def default() -> list[str]:
        return []

    def command(self) -> str:
        return (
            "if command -v docker >/dev/null; then"
            " timeout 20 docker volume ls -q 2>/dev/null; fi; true"
        )

    def process(self, output: list[str]) -> list[str]:
        return [line.strip() for line in output if line.strip()]


@dataclass(frozen=True)
class Registration:
    """What a node knows: its `id`, and whether the server knows it (None: could not be asked)."""

    id: str | None = None
    known: bool | None = None


class Worker(FactBase[Registration]):
    """The host program's `worker`: the node's kept id, which the server at `server_url` is asked.

    `ca` is PEM text (None: any certificate). The certificate is public, so argv may hold it.
    """

    @staticmethod
    def default() -> Registration:
        return Registration()

    def command(self, server_url: str, verify: bool, ca: str | None) -> str:
        question = {"server_url": server_url, "verify": verify, "ca": ca, "ask": True}
        text = shlex.quote(json.dumps(question))
        return (
            f"if [ -f {PROGRAM} ] && [ -f /etc/stackpin/xingrin-worker/stack.json ]; then"
            f" printf %s {text} | python3 {PROGRAM} worker xingrin-worker 2>/dev/null; fi; true"
        )

    def process(self, output: list[str]) -> Registration:
        try:
            answer = json.loads("\n".join(output))
        except ValueError:
            return Registration()
        if not isinstance(answer, dict) or not answer.get("ok", True):
            return Registration()
        found = answer.get("id")
        known = answer.get("known")
        return Registration(
            None if found is None else str(found), known if isinstance(known, bool) else None
        )
