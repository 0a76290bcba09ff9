"""The compose file of one InfraCore service, built as data and written as JSON, which is YAML.

On the host's network, as the product's services expect of each other: gate asks console on
127.0.0.1. Values of the release's variables are never in it: the host program hands them over.
"""

from __future__ import annotations

import json
from typing import Any

from stackpin.config.infracore import InfracoreService
from stackpin.config.infracore_types import DATA, ETC, Slot

__all__ = ["text"]

HEAD = "# Written by stackpin: one release of one service.\n"
APP = "/app"  # where the product's images have their files
LOW = 1024
Container = dict[str, Any]


def text(settings: InfracoreService, image: str, tree: str) -> str:
    """Return the file's text: `image` by digest, `tree` the directory of the files it reads."""
    slots: list[Slot] = ["blue", "green", "rehearsal"]
    document: dict[str, Any] = {
        "x-stackpin": {"depend": [], "front": []},
        "services": {
            f"{settings.service}-{slot}": _container(settings, image, tree, slot) for slot in slots
        },
        # Made before, with an owner who may write to it; never removed with the containers.
        "volumes": {"data": {"name": settings.volume, "external": True}},
    }
    return HEAD + json.dumps(document, indent=1) + "\n"


def _container(settings: InfracoreService, image: str, tree: str, slot: Slot) -> Container:
    port = settings.ports_of_slots[slot]
    low = port < LOW
    return {
        "image": image,
        "profiles": [slot],
        # Only the slot in front comes back after a reboot: the host program gives it that policy.
        "restart": "no",
        "network_mode": "host",
        # The account of this host that owns the data. A low port takes root, without all else
        # that root may do: docker gives capabilities to nobody else.
        "user": "0:0" if low else "${STACKPIN_USER:?}",
        "cap_drop": ["ALL"],
        **({"cap_add": ["NET_BIND_SERVICE"]} if low else {}),
        "security_opt": ["no-new-privileges:true"],
        "read_only": True,
        "tmpfs": ["/tmp:mode=1777"],  # noqa: S108 - the container's own
        "pids_limit": 1024,
        "working_dir": APP,
        "stop_grace_period": "35s",
        "environment": settings.slot_env(slot),
        "volumes": _mounts(settings, tree, slot),
        "labels": {
            "stackpin.stack": settings.part,
            "stackpin.service": settings.service,
            "stackpin.role": settings.service,
            "stackpin.slot": slot,
            "stackpin.release": "${STACKPIN_RELEASE:?}",
        },
    }


def _mounts(settings: InfracoreService, tree: str, slot: Slot) -> list[dict[str, Any]]:
    found = [_bind(f"{tree}/configs", f"{APP}/configs")]
    if settings.service == "console":
        found.append(_bind(f"{tree}/ui/dist", f"{APP}/ui/dist"))
    if slot == "rehearsal":
        return [*found, _bind(settings.rehearsals, settings.rehearsals, writable=True)]
    if settings.service != "gate":
        volume = {"nocopy": True}
        found.append({"type": "volume", "source": "data", "target": DATA, "volume": volume})
    elif settings.acme:
        found.append(_bind(f"{ETC}/certs", f"{ETC}/certs", writable=True))
    return found


def _bind(source: str, target: str, *, writable: bool = False) -> dict[str, Any]:
    return {
        "type": "bind",
        "source": source,
        "target": target,
        "read_only": not writable,
        "bind": {"create_host_path": False},
    }
