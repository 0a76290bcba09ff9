"""A stack as the host knows it: `/etc/stackpin/<name>/stack.json` and every path derived from it.

Environment variable STACKPIN_ROOT puts a directory before every path, for tests.
"""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from stackpin.host.errors import refused

__all__ = ["SLOTS", "GateSettings", "Stack", "host_root"]

SLOTS = ("blue", "green")
_TUPLES = ("checks", "pinned", "env_files", "members", "owned")
_NONE: Mapping[str, Any] = MappingProxyType({})
_NAME = re.compile(r"^[a-z][a-z0-9-]{0,30}$")


def host_root() -> Path:
    """Return the directory that stands for `/` (only tests set another one)."""
    return _path(os.environ.get("STACKPIN_ROOT") or "/")


_path = functools.cache(Path)  # asked for with every path


class GateSettings(NamedTuple):
    """How long and how often a release must answer; times in seconds."""

    pass_score: float = 0.75
    consecutive: int = 3
    interval: float = 1.0
    settle: float = 1.0
    min_healthy: float = 12.0
    timeout: float = 60.0


class Stack(NamedTuple):
    """Settings of one stack; times in seconds, paths as written in stack.json (no test root).

    Use the properties for paths to open: those carry the test root.
    """

    name: str
    installed: bool = False
    kind: str = "slots"
    user: str = "root"
    opt: str = ""
    data: str = ""
    ports: Mapping[str, int] = _NONE
    database: str | None = None
    repo_root: str | None = None
    overlap: bool = True
    guard_seconds: float = 90.0
    drain_seconds: float = 10.0
    start_timeout: float = 60.0
    rehearsal: bool = True
    keep_releases: int = 5
    web_user: str = "www-data"
    pinned: tuple[str, ...] = ()
    gate: GateSettings = GateSettings()
    checks: tuple[dict[str, Any], ...] = ()
    listeners: Mapping[str, Any] = _NONE
    backup: Mapping[str, Any] = _NONE
    static: Mapping[str, Any] = _NONE
    env_files: tuple[str, ...] = ()
    heartbeat_seconds: float = 0.0
    container: Mapping[str, Any] = _NONE
    compose: Mapping[str, Any] = _NONE
    postgres: Mapping[str, Any] = _NONE
    redis: Mapping[str, Any] = _NONE
    schema: Mapping[str, Any] = _NONE
    members: tuple[str, ...] = ()
    owned: tuple[str, ...] = ()
    required: bool = True

    @classmethod
    def load(cls, name: str) -> Stack:
        """Read stack.json; without one the result has defaults and `installed` False.

        Raises HostError(refused) for a malformed name or an unreadable file.
        """
        if not _NAME.match(name):
            raise refused(f"stack {name!r}: expected a name like crm or my-portal", stack=name)
        path = host_root() / "etc/stackpin" / name / "stack.json"
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return cls.from_json(name, {}, installed=False)
        try:
            data = json.loads(text)
        except ValueError as error:
            raise refused(f"{path}: not JSON ({error}); deploy the stack again") from error
        if not isinstance(data, dict):
            raise refused(f"{path}: expected a JSON object; deploy the stack again")
        return cls.from_json(name, data)

    @classmethod
    def from_json(cls, name: str, data: dict[str, Any], *, installed: bool = True) -> Stack:
        """Build from the HostStack document; keys not known here are ignored."""
        known = {*cls._fields} - {"name", "installed", "gate", *_TUPLES}
        values = {k: v for k, v in data.items() if k in known and v is not None}
        given = data.get("gate") or {}
        gate = {k: v for k, v in given.items() if k in GateSettings._fields}
        values.setdefault("opt", f"/opt/{name}")
        values.setdefault("data", f"/var/lib/{name}")
        return cls(
            name=name,
            installed=installed,
            gate=GateSettings(**gate),
            checks=tuple(data.get("checks") or ()),
            pinned=tuple(data.get("pinned") or ()),
            env_files=tuple(data.get("env_files") or ()),
            members=tuple(data.get("members") or ()),
            owned=tuple(data.get("owned") or ()),
            **values,
        )

    def require(self) -> Stack:
        """Return self, or refuse because the stack was never deployed here."""
        if not self.installed:
            raise refused(
                f"{self.settings_file}: not found, so stack {self.name} is not installed on "
                "this host; deploy it first",
                stack=self.name,
            )
        return self

    @staticmethod
    def at(path: str | Path) -> Path:
        """`path` of the host under the test root."""
        return host_root() / str(path).lstrip("/")

    @property
    def is_static(self) -> bool:
        """True for a stack of files behind a symlink: no process, no slots."""
        return self.kind == "static"

    @property
    def uses_images(self) -> bool:
        """True for a stack whose slots are containers: a release is a text that names images."""
        return self.kind in ("container", "compose")

    @property
    def spec_name(self) -> str:
        """The file of a release that says how it is run."""
        return {"container": "container.json", "compose": "compose.yml"}.get(self.kind, "unit")

    def unit(self, slot: str) -> str:
        """Name the systemd unit of a slot."""
        return f"{self.name}@{slot}.service"

    def unit_file(self, slot: str) -> Path:
        """Where that unit lies; a rehearsal's is gone after a reboot by itself."""
        base = "/run/systemd/system" if slot == "rehearsal" else "/etc/systemd/system"
        return self.at(base) / self.unit(slot)

    @property
    def settings_dir(self) -> Path:
        """/etc/stackpin/<stack>."""
        return self.at("/etc/stackpin") / self.name

    @property
    def settings_file(self) -> Path:
        """/etc/stackpin/<stack>/stack.json."""
        return self.settings_dir / "stack.json"

    def slot_env_file(self, slot: str) -> Path:
        """/etc/stackpin/<stack>/slots/<slot>.env."""
        return self.settings_dir / "slots" / f"{slot}.env"

    @property
    def opt_dir(self) -> Path:
        """/opt/<stack>."""
        return self.at(self.opt)

    @property
    def releases_dir(self) -> Path:
        """/opt/<stack>/releases."""
        return self.opt_dir / "releases"

    def release_dir(self, release: str) -> Path:
        """/opt/<stack>/releases/<release>."""
        return self.releases_dir / release

    @property
    def slots_dir(self) -> Path:
        """/opt/<stack>/slots."""
        return self.opt_dir / "slots"

    def slot_link(self, slot: str) -> Path:
        """/opt/<stack>/slots/<slot>: a link to the release that slot runs."""
        return self.slots_dir / slot

    @property
    def live_data_dir(self) -> Path:
        """/var/lib/<stack>/data."""
        return self.at(self.data) / "data"

    @property
    def rehearsal_dir(self) -> Path:
        """/var/lib/<stack>/rehearsal."""
        return self.at(self.data) / "rehearsal"

    @property
    def state_dir(self) -> Path:
        """/var/lib/stackpin/<stack>."""
        return self.at("/var/lib/stackpin") / self.name

    @property
    def slot_file(self) -> Path:
        """Present: green is live. Absent: blue is."""
        return self.state_dir / "live.green"

    @property
    def journal_file(self) -> Path:
        """The append-only record of what happened."""
        return self.state_dir / "releases.jsonl"

    @property
    def run_file(self) -> Path:
        """The current or last run."""
        return self.state_dir / "run.json"

    @property
    def pending_file(self) -> Path:
        """Present while a switch waits for its confirmation."""
        return self.state_dir / "pending.json"

    @property
    def lock_file(self) -> Path:
        """The lease of an operator."""
        return self.state_dir / "lock.json"

    @property
    def maintenance_file(self) -> Path:
        """Present: nginx answers 503."""
        return self.state_dir / "maintenance"

    @property
    def nginx_reload_file(self) -> Path:
        """Present: nginx has not been reloaded since its files were last changed."""
        return self.state_dir / "nginx.reload"

    @property
    def incoming_dir(self) -> Path:
        """Uploaded artifacts, named by their sha256, not yet part of a release."""
        return self.state_dir / "incoming"

    @property
    def backup_dir(self) -> Path:
        """/var/backups/stackpin/<stack>."""
        return self.at("/var/backups/stackpin") / self.name
