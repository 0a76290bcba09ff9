"""The worker API: registration, heartbeats and what they do to a worker's row."""

import ipaddress
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .answers import Answer, Problem, Request, page_of
from .database import Taken
from .loads import Loads
from .settings import Settings
from .store import Store, Worker

__all__ = ["Workers"]

NOT_FOUND = "No WorkerNode matches the given query."
SSH_SECONDS = 10.0

Start = Callable[[Callable[[], None]], None]
"""Runs a function beside the answer."""


def in_thread(work: Callable[[], None]) -> None:
    """Run `work` in a thread that a stopping server does not wait for."""
    threading.Thread(target=work, daemon=True).start()


@dataclass(frozen=True)
class Workers:
    """All of /api/workers/."""

    store: Store
    loads: Loads
    settings: Settings
    say: Callable[[str], None]
    start: Start = in_thread

    def list(self, request: Request) -> Answer:
        """GET /api/workers/."""
        offset, limit, about = page_of(request, self.store.worker_count())
        workers = self.store.workers(offset, limit)
        loads = self.loads.of([worker["id"] for worker in workers])
        return Answer(200, {"results": [shown(one, loads) for one in workers], **about})

    def create(self, request: Request) -> Answer:
        """POST /api/workers/: a remote worker, before its agent exists."""
        given = request.data()
        problems: dict[str, list[str]] = {}
        for name in ("name", "ip_address"):
            if not given.get(name):
                problems[name] = ["This field is required."]
        if "ip_address" not in problems and not _address(given["ip_address"]):
            problems["ip_address"] = ["Enter a valid IPv4 or IPv6 address."]
        port = given.get("ssh_port", 22)
        if not str(port).isdigit():
            problems["ssh_port"] = ["A valid integer is required."]
        if problems:
            raise Problem(400, problems)
        values = {
            "name": str(given["name"]),
            "ip_address": str(given["ip_address"]),
            "ssh_port": int(port),
            "username": given.get("username") or "root",
            "password": given.get("password") or "",
            "is_local": False,
            "status": "pending",
        }
        return Answer(201, shown(self._add(values), {}))

    def get(self, worker: int) -> Answer:
        """GET /api/workers/{id}/."""
        found = self._find(worker)
        return Answer(200, shown(found, self.loads.of([worker])))

    def change(self, worker: int, request: Request) -> Answer:
        """PATCH /api/workers/{id}/: name, address, port and user; an empty password is ignored."""
        self._find(worker)
        wanted = {"name", "ip_address", "ssh_port", "username", "password"}
        values = {key: value for key, value in request.data().items() if key in wanted and value}
        if values:
            try:
                self.store.change_worker(worker, values)
            except Taken as error:
                raise _taken(error) from error
        return self.get(worker)

    def delete(self, worker: int) -> Answer:
        """DELETE /api/workers/{id}/: row and key go at once, the agent is not told."""
        found = self._find(worker)
        self.loads.forget(worker)
        self.store.remove_worker(worker)
        if not found["password"]:
            self.say(f"worker {worker}: no password stored, its agent is not uninstalled")
        return Answer(200, {"message": f"worker {found['name']} deleted"})

    def register(self, request: Request) -> Answer:
        """POST /api/workers/register/: what an agent without WORKER_ID does; same name, same id."""
        given = request.data()
        name = given.get("name")
        if not name:
            raise Problem(400, {"error": "the parameter name is missing"})
        found, created = self.store.worker_named(str(name)), False
        if found is None:
            values = {
                "name": str(name),
                # The real server stores its own address here, not that of the caller.
                "ip_address": own_address(),
                "is_local": bool(given.get("is_local", True)),
                "status": "offline",
            }
            found, created = self._add(values), True
        return Answer(200, {"worker_id": found["id"], "name": found["name"], "created": created})

    def heartbeat(self, worker: int, request: Request) -> Answer:
        """POST /api/workers/{id}/heartbeat/."""
        found = self._find(worker)
        given = request.data()
        self.loads.beat(worker, given.get("cpu_percent", 0), given.get("memory_percent", 0))
        if found["status"] not in {"online", "offline"}:
            self.store.change_worker(worker, {"status": "online"})
        theirs, ours = given.get("version"), self.settings.image_tag
        differs = bool(theirs and theirs != "unknown" and ours and theirs != ours)
        if differs:
            self._mismatch(found)
        return Answer(200, {"status": "ok", "need_update": differs, "server_version": ours})

    def _mismatch(self, worker: Worker) -> None:
        if worker["is_local"]:
            self.store.change_worker(worker["id"], {"status": "outdated"})
        elif worker["ip_address"] and self.loads.lock_update(worker["id"]):
            self.store.change_worker(worker["id"], {"status": "updating"})
            self.start(lambda: self._update_by_ssh(worker))

    def _update_by_ssh(self, worker: Worker) -> None:
        """Fail as the real one does without its SSH library's luck: the worker ends outdated."""
        try:
            reason = "no password is stored"
            if worker["password"]:
                reason = _knock(worker["ip_address"], worker["ssh_port"])
            self.say(f"worker {worker['id']}: agent not updated: {reason}")
            self.store.change_worker(worker["id"], {"status": "outdated"})
        except Exception as error:
            self.say(f"worker {worker['id']}: agent not updated: {error}")
        finally:
            # Given back at once: the next heartbeat tries again.
            self.loads.unlock_update(worker["id"])

    def _find(self, worker: int) -> Worker:
        found = self.store.worker(worker)
        if found is None:
            raise Problem(404, {"detail": NOT_FOUND})
        return found

    def _add(self, values: dict[str, Any]) -> Worker:
        try:
            return self.store.add_worker(values)
        except Taken as error:
            raise _taken(error) from error


def shown(worker: Worker, loads: dict[int, dict[str, float]]) -> dict[str, Any]:
    """Write a worker as the API shows it: `updating` and `outdated` never appear here."""
    load = loads.get(worker["id"])
    status = worker["status"]
    if status not in {"pending", "deploying"}:
        status = "online" if load else "offline"
    info = {"cpu_percent": load["cpu"], "memory_percent": load["mem"]} if load else None
    plain = ("id", "name", "ip_address", "ssh_port", "username")
    times = {name: worker[name] for name in ("created_at", "updated_at")}
    shown_fields = {name: worker[name] for name in plain}
    return {
        **shown_fields,
        "status": status,
        "is_local": worker["is_local"],
        "info": info,
        **times,
    }


def own_address() -> str:
    """Resolve this machine's own name; loopback when it has none."""
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return "127.0.0.1"


def _taken(error: Taken) -> Problem:
    if "ip" in str(error):
        return Problem(400, {"ip_address": ["A worker with this IP address already exists."]})
    return Problem(400, {"name": ["A worker with this name already exists."]})


def _address(text: object) -> bool:
    try:
        ipaddress.ip_address(str(text))
    except ValueError:
        return False
    return True


def _knock(host: str, port: int) -> str:
    try:
        socket.create_connection((host, port), SSH_SECONDS).close()
    except OSError as error:
        return str(error)
    return "authentication failed"
