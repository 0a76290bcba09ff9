"""What one service of InfraCore consists of on its host, as values: the same for all five."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

from operations import infracore_compose
from operations.containers import image_release
from operations.crm_content import boot_unit, state_directories
from operations.entries import Directory, File, Link
from operations.provenance import git_head, who
from operations.rendering import render
from stackpin.artifacts import Artifact
from stackpin.config.common import Resolve
from stackpin.config.envfile import render_env
from stackpin.config.infracore import PARTS, InfracoreService
from stackpin.config.infracore_types import DATA, ETC, LOGS, SECRETS, SERVICES, Slot
from stackpin.config.release import Release

__all__ = ["LOW", "entries", "release", "unit"]

LOW = 1024  # ports below are root's, or need CAP_NET_BIND_SERVICE
SLOTS: tuple[Slot, ...] = get_args(Slot)
MEASURE = ("orchestrator", "probe")  # these read the host's load and memory in /proc


def entries(settings: InfracoreService, resolve: Resolve) -> list[Directory | File | Link]:
    """Every file and directory of the service, parents first; releases not included."""
    part = settings.part
    return [
        *state_directories(part),
        Directory(f"/etc/stackpin/{part}/slots", "0700"),
        Directory(settings.opt),
        Directory(f"{settings.opt}/releases"),
        Directory(f"{settings.opt}/slots"),
        # Nobody else gets as far as the copies a rehearsal works on.
        Directory(settings.rehearsals.rpartition("/")[0], "0710", group=settings.user),
        boot_unit(),
        File(f"/etc/stackpin/{part}/stack.json", settings.host_stack(resolve).text(), "0600"),
        *(_slot_file(settings, slot) for slot in SLOTS),
    ]


def release(  # noqa: PLR0917 - whose it is, what it is made from, where
    settings: InfracoreService,
    resolve: Resolve,
    artifact: Artifact | None,
    images: Mapping[str, str],
    tree: str,
    root: Path,
) -> Release:
    """Return the pinned release: `artifact` in mode systemd, one of `images` in mode compose.

    `tree` is the directory of the files it reads. A change there is a new release of the service,
    and so reaches the process through a gated switch instead of waiting for some restart.
    """
    environment = {**settings.environment(resolve), "STACKPIN_VERSION": settings.version}
    # Whatever secret is in the environment: without one the id would let anyone try out guesses.
    known = [settings.jwt_secret, *settings.secret_env.values()]
    given = [ref for ref in known if ref is not None]
    key = resolve(given[0]).get_secret_value() if given else ""
    if artifact is None:
        text = infracore_compose.text(settings, images[settings.service], tree)
        own: dict[str, str] = {settings.service: images[settings.service]}
        return image_release(settings.version, "compose.yml", text, environment, own, key, root)
    return Release.make(
        settings.version,
        artifact.sha256,
        artifact.name,
        environment,
        unit(settings, tree),
        key=key,
        git_head=git_head(root),
        created_by=who(),
    )


def unit(settings: InfracoreService, tree: str) -> str:
    """Text of the template unit of the slots.

    It names a digest of the slots' environments: a change there is a new release then, too.
    """
    digest = hashlib.sha256()
    for slot in SLOTS:
        digest.update(_slot_file(settings, slot).content.encode())
    service = settings.service
    writes = [LOGS] if service == "gate" else [DATA, LOGS]
    return render(
        "infracore/unit.service.j2",
        service=service,
        part=settings.part,
        version=settings.version,
        user=settings.user,
        opt=settings.opt,
        tree=tree,
        config_name=settings.config_name,
        secrets=SECRETS,
        after=[PARTS[other] for other in SERVICES[: SERVICES.index(service)]],
        writes=[*writes, *([f"{ETC}/certs"] if service == "gate" and settings.acme else [])],
        ui=service == "console",
        low_port=min(settings.ports_of_slots.values()) < LOW,
        measures=service in MEASURE,
        slots_sha256=digest.hexdigest(),
    )


def _slot_file(settings: InfracoreService, slot: Slot) -> File:
    path = f"/etc/stackpin/{settings.part}/slots/{slot}.env"
    return File(path, render_env(settings.slot_env(slot)), "0600")
