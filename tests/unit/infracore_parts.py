"""Settings of InfraCore's parts, for tests."""

from __future__ import annotations

from typing import Any

from stackpin.config.infracore import InfracoreFiles, InfracoreService
from stackpin.config.stacks import STACKS

DATA = {"infracore_version": "v1.0.0", "infracore_lock_file": "inventories/x.lock.toml"}


def parts(production: bool = False, **more: Any) -> dict[str, Any]:
    data = DATA | {f"infracore_{name}": value for name, value in more.items()}
    return STACKS["infracore"].settings(data | {"stackpin_production": production}, "h1")


def files(**more: Any) -> InfracoreFiles:
    found = parts(**more)["infracore-files"]
    assert isinstance(found, InfracoreFiles)
    return found


def service(name: str, **more: Any) -> InfracoreService:
    found = parts(**more)[f"infracore-{name}"]
    assert isinstance(found, InfracoreService)
    return found
