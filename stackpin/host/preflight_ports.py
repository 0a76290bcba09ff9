"""Whether a stack's ports are free, or held by what we run ourselves; who holds them if not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stackpin.host import processes
from stackpin.host.drivers import docker
from stackpin.host.errors import HostError
from stackpin.host.preflight_item import Item
from stackpin.host.stack import SLOTS, Stack

__all__ = ["look"]

SITES = ("etc/nginx/sites-enabled", "etc/nginx/conf.d")
OURS_IN_NGINX = "/var/lib/stackpin/"  # every site of ours asks for a slot or maintenance there


def look(stack: Stack, needs: Mapping[str, Any]) -> Iterator[Item]:
    """Ask about needs.ports; needs.own: the stacks whose services may hold them."""
    wanted = needs.get("ports") or []
    own = set(needs.get("own") or ()) | {stack.name}
    held = [item for item in processes.listeners() if item.proto == "tcp"] if wanted else []
    expected = "free, or held by this stack"
    for entry in wanted:
        port = int(str(entry).split("/", maxsplit=1)[0])
        holders = [_Holder(item) for item in held if item.port == port]
        foreign = [holder for holder in holders if not holder.ours(stack, own)]
        if foreign:
            who = foreign[0]
            remedy = f"Stop {who.item.process or 'it'} or choose another port."
            yield Item(f"port {port}", False, who.told(), expected, remedy)
        else:
            measured = f"held by {holders[0].name}, which is ours" if holders else "free"
            yield Item(f"port {port}", True, measured, expected)


class _Holder:
    """A listening socket, the unit and the container behind it."""

    def __init__(self, item: processes.Listener) -> None:
        self.item = item
        self.unit = processes.unit_of(item.pid) if item.pid is not None else None
        self.container = _container(item)

    @property
    def name(self) -> str:
        """What an operator would look for: the container, the unit, or the program."""
        if self.container is not None:
            return f"container {self.container.name} of {docker.plain(self.container.image)}"
        return self.unit or self.item.process or "a process"

    def ours(self, stack: Stack, own: set[str]) -> bool:
        if self.container is not None:
            return self.container.labels.get(docker.LABELS["stack"]) in own
        if self.unit == "nginx.service":
            # A static stack's ports are nginx's, and a public one may be until the first deploy.
            web = stack.is_static or self.item.port in {80, 443}
            return web or _in_our_sites(self.item.port)
        name, _, slot = (self.unit or "").removesuffix(".service").partition("@")
        return name in own and slot in {*SLOTS, "rehearsal"}

    def told(self) -> str:
        process = self.item.process or "a process"
        about = ", ".join([f"pid {self.item.pid}", *([self.name] if self.name != process else [])])
        return f"held by {process} ({about}) on {self.item.address}"


def _container(item: processes.Listener) -> docker.Container | None:
    """Find the container that listens: through docker's proxy, or on the host's own network."""
    try:
        if item.process == "docker-proxy":
            asked = ("ps", "--quiet", "--no-trunc", f"--filter=publish={item.port}")
            found = docker.docker(*asked, timeout=15).out.split()
        else:
            text = Path(f"/proc/{item.pid}/cgroup").read_text(encoding="ascii")
            found = re.findall(r"docker[-/]([0-9a-f]{64})", text)
        return docker.by_id(found[0])[0] if found else None
    except (HostError, OSError, IndexError):
        return None


def _in_our_sites(port: int) -> bool:
    listens = re.compile(rf"^\s*listen\s+(\S*:)?{port}[\s;]", re.MULTILINE)
    for folder in SITES:
        for path in Stack.at(folder).glob("*"):
            try:
                text = path.read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            if OURS_IN_NGINX in text and listens.search(text):
                return True
    return False
