"""systemd units, many in one command."""

# ruff: noqa: D102 - what default, command and process do is told once, by pyinfra
from __future__ import annotations

import shlex
from dataclasses import dataclass

from pyinfra.api.facts import FactBase

PROPERTIES = "Id,LoadState,ActiveState,UnitFileState,NeedDaemonReload,MainPID"


@dataclass(frozen=True)
class Unit:
    """The state of a unit; `load` is "not-found" for a unit that does not exist."""

    load: str
    active: str
    enabled: str
    stale: bool  # its file changed since systemd read it
    main_pid: int


ABSENT = Unit("not-found", "inactive", "", stale=False, main_pid=0)


class Units(FactBase[dict[str, Unit]]):
    """Name -> Unit for each of `names`, in one `systemctl show`."""

    @staticmethod
    def default() -> dict[str, Unit]:
        return {}

    def command(self, names: list[str]) -> str:
        units = " ".join(shlex.quote(name) for name in names)
        return f"systemctl show --no-pager -p {PROPERTIES} -- {units} 2>/dev/null || true"

    def process(self, output: list[str]) -> dict[str, Unit]:
        units = {}
        for block in "\n".join(output).split("\n\n"):
            values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
            if "Id" in values:
                units[values["Id"]] = Unit(
                    values.get("LoadState", ""),
                    values.get("ActiveState", ""),
                    values.get("UnitFileState", ""),
                    values.get("NeedDaemonReload") == "yes",
                    int(values.get("MainPID") or 0),
                )
        return units
