"""What the CRM stack consists of on a host, as values."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path

from facts.stacks import PROGRAM
from operations.entries import Directory, File, Link
from operations.provenance import git_head, who
from operations.rendering import render
from stackpin.artifacts import Artifact
from stackpin.config.common import Resolve
from stackpin.config.crm import CrmSettings, Slot
from stackpin.config.envfile import render_env
from stackpin.config.release import Release

STACK = "crm"
PACKAGES = ("ca-certificates", "curl", "git", "iproute2", "python3", "restic", "sqlite3")
SLOTS: tuple[Slot, ...] = ("blue", "green", "rehearsal")
BOOT_UNIT_FILE = "/etc/systemd/system/stackpin-boot@.service"


def state_directories(stack: str) -> list[Directory]:
    """Where the host program keeps what it knows. nginx's user may pass through, not look."""
    return [
        Directory("/etc/stackpin"),
        Directory(f"/etc/stackpin/{stack}", "0711"),
        Directory("/var/lib/stackpin", "0711"),
        Directory(f"/var/lib/stackpin/{stack}", "0711"),
        Directory(f"/var/lib/stackpin/{stack}/incoming", "0700"),
    ]


def boot_unit() -> File:
    """Return the unit that starts the live slot of any stack at boot."""
    return File(BOOT_UNIT_FILE, render("boot/stackpin-boot@.service.j2", program=PROGRAM))


def entries(settings: CrmSettings, resolve: Resolve) -> list[Directory | File | Link]:
    """Every file, directory and link of the stack, parents first; releases not included."""
    user = settings.user
    secrets: list[File] = []
    if settings.backup_password is not None:
        password = resolve(settings.backup_password).get_secret_value()
        path = f"/etc/stackpin/{STACK}/restic.password"
        secrets.append(File(path, password + "\n", "0600", secret=True))
    return [
        *state_directories(STACK),
        Directory(f"/etc/stackpin/{STACK}/slots", "0700"),
        Directory(f"/opt/{STACK}"),
        Directory(f"/opt/{STACK}/releases"),
        Directory(f"/opt/{STACK}/slots"),
        Directory(f"/var/lib/{STACK}", "0711"),
        Directory(f"/var/lib/{STACK}/data", "0700", user, user),
        Directory(f"/var/lib/{STACK}/rehearsal", "0700", user, user),
        Directory("/var/backups/stackpin", "0700"),
        Directory(f"/var/backups/stackpin/{STACK}", "0700"),
        boot_unit(),
        File(
            f"/etc/stackpin/{STACK}/stack.json",
            settings.host_stack(resolve).text(),
            "0600",
            secret=bool(settings.backup_env),
        ),
        File(f"/etc/stackpin/{STACK}/gitconfig", render("crm/gitconfig.j2", user=user)),
        *(_slot_file(settings, slot) for slot in SLOTS),
        *secrets,
    ]


def release(
    settings: CrmSettings, resolve: Resolve, root: Path, production: Collection[str] = ()
) -> tuple[Release, Path]:
    """Return the pinned release and the local path of its artifact, looked up below `root`.

    It is built where its source says so, on none of the hosts `production`. Raises Refused when
    the artifact is missing or is not the one meant.
    """
    artifact = Artifact.locate(settings, root, production=production)
    environment = {**settings.environment(resolve), "STACKPIN_VERSION": settings.version}
    made = Release.make(
        settings.version,
        artifact.sha256,
        artifact.name,
        environment,
        unit(settings),
        key=resolve(settings.admin_token).get_secret_value(),
        git_head=git_head(root),
        created_by=who(),
    )
    return made, artifact.path


def unit(settings: CrmSettings) -> str:
    """Text of the template unit of the slots.

    It names a digest of the slots' environments: a change there is a new release then, and so
    reaches the process through a gated switch instead of waiting for some restart.
    """
    digest = hashlib.sha256()
    for slot in SLOTS:
        digest.update(_slot_file(settings, slot).content.encode())
    return render(
        "crm/unit.service.j2",
        stack=STACK,
        version=settings.version,
        user=settings.user,
        opt=f"/opt/{STACK}",
        data=f"/var/lib/{STACK}",
        repo_root=settings.repo_root,
        slots_sha256=digest.hexdigest(),
    )


def _slot_file(settings: CrmSettings, slot: Slot) -> File:
    path = f"/etc/stackpin/{STACK}/slots/{slot}.env"
    return File(path, render_env(settings.slot_env(slot)), "0600")
