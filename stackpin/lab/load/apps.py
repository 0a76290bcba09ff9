"""What a load asks each of the lab's products, and which answers are right."""

import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from stackpin.lab.load.connection import Answer

__all__ = ["APPS", "App", "Ask"]

WRITE = "write"  # the kind of request that adds something by a name, answered with 201
PASSWORD = "lab-load-password"  # noqa: S105 - of users that only a load makes up


@dataclass(frozen=True)
class Ask:
    """One request; `secret` ones carry the token."""

    method: str
    path: str
    body: bytes = b""
    secret: bool = False


Exchange = Callable[[Ask], Awaitable[Answer]]


class App(Protocol):
    """One product under load. `mix` has the kinds of request a client sends in turn."""

    mix: tuple[str, ...]

    def ask(self, kind: str, name: str) -> Ask:
        """Return the request of a kind; a write adds `name`."""

    def good(self, kind: str, name: str, body: bytes) -> bool:
        """Tell whether a body is right; raises ValueError, KeyError or TypeError when it is not."""

    async def missing(self, names: Iterable[str], exchange: Exchange) -> set[str]:
        """Return which of the acknowledged `names` the service does not know."""


class Crm:
    """The CRM and its portal, through nginx."""

    api = "/portal-admin-api"
    mix: tuple[str, ...] = (
        "hosts",
        "healthz",
        WRITE,
        "portal",
        "healthz",
        "hosts",
        "healthz",
        WRITE,
        "portal",
    )

    def ask(self, kind: str, name: str) -> Ask:
        """See `App`."""
        if kind == WRITE:
            body = json.dumps({"name": name, "base_url": "http://127.0.0.1"}).encode()
            return Ask("POST", f"{self.api}/api/hosts", body, secret=True)
        paths = {"hosts": f"{self.api}/api/hosts", "healthz": f"{self.api}/healthz"}
        return Ask("GET", paths.get(kind, "/portal/"), secret=kind in paths)

    def good(self, kind: str, name: str, body: bytes) -> bool:
        """See `App`."""
        if kind == "healthz":
            return body == b"ok"
        if kind == "portal":
            return b"</html>" in body
        value = json.loads(body)
        return bool(value["name"] == name) if kind == WRITE else isinstance(value["hosts"], list)

    async def missing(self, names: Iterable[str], exchange: Exchange) -> set[str]:
        """See `App`; asked page by page."""
        left, before = set(names), ""
        while left:
            answer = await exchange(
                Ask("GET", f"{self.api}/api/hosts?limit=1000{before}", secret=True)
            )
            hosts = json.loads(answer.body)["hosts"]
            if not hosts:
                break
            left -= {host["name"] for host in hosts}
            before = f"&before={hosts[-1]['id']}"
        return left


class Infracore:
    """InfraCore through its gate: interface, health, registering and logging in."""

    api = "/api/v1"
    mix: tuple[str, ...] = ("health", "page", WRITE, "health", "page", "health")

    def ask(self, kind: str, name: str) -> Ask:
        """See `App`."""
        if kind == WRITE:
            user = {"username": name, "email": f"{name}@example.net", "password": PASSWORD}
            return Ask("POST", f"{self.api}/auth/register", json.dumps(user).encode())
        return Ask("GET", f"{self.api}/health" if kind == "health" else "/")

    def good(self, kind: str, name: str, body: bytes) -> bool:
        """See `App`."""
        if kind == "page":
            return b"</html>" in body or json.loads(body)["status"] == "running"
        value = json.loads(body)
        if kind == WRITE:
            return bool(value["user"]["username"] == name)
        return bool(value["status"] == "healthy")

    async def missing(self, names: Iterable[str], exchange: Exchange) -> set[str]:
        """See `App`; each has to be able to log in."""
        left = set(names)
        for name in sorted(left):
            login = json.dumps({"username": name, "password": PASSWORD}).encode()
            answer = await exchange(Ask("POST", f"{self.api}/auth/login", login))
            if answer.status == 200:
                left.discard(name)
        return left


APPS: dict[str, App] = {"crm": Crm(), "infracore": Infracore()}
