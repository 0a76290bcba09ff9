"""What the artifact of InfraCore holds, and the release of its files that follows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from operations import archives
from operations.provenance import git_head, who
from stackpin.artifacts import Artifact, Output, Say, quiet, resolve
from stackpin.config.infracore import InfracoreBase
from stackpin.config.infracore_types import HOME, SERVICES, Service
from stackpin.config.release import Release
from stackpin.errors import Refused
from stackpin.lockfile import pinned

__all__ = ["Bundle", "files_release", "images", "locate", "tree"]

UI = "ui/dist/"
# Of the provenance, what the same source gives each time: a new time of building is no new release.
_TOLD = ("kind", "repo", "ref", "commit", "submodules", "url", "image")


@dataclass(frozen=True)
class Bundle:
    """An artifact: an executable per service, the interface's files by name, where it is from.

    `binaries` is empty in mode compose, whose services come from images.
    """

    binaries: Mapping[Service, Artifact]
    ui: Mapping[str, Output]
    provenance: Mapping[str, Any]


def locate(
    settings: InfracoreBase,
    root: Path,
    *,
    progress: Say = quiet,
    production: Collection[str] = (),
) -> Bundle:
    """Find, fetch or build the pinned artifact. Raises Refused when it is incomplete.

    See `stackpin.artifacts.resolve` for `root`, `progress` and `production`.
    """
    found = resolve(
        settings.artifact, settings.version, root, progress=progress, production=production
    )
    ui = {n.removeprefix(UI): one for n, one in found.outputs.items() if n.startswith(UI)}
    wanted = [f"bin/{service}" for service in SERVICES] if settings.mode == "systemd" else []
    absent = [name for name in wanted if name not in found.outputs]
    if "index.html" not in ui:
        absent.append(f"{UI}index.html")
    if absent:
        raise Refused(
            f"infracore_artifact of {settings.version}: found no {', '.join(absent)} among its "
            f"{len(found.outputs)} files, expected bin/<service> and {UI}index.html. Build it "
            "whole, or correct its outputs."
        )
    origin = found.as_json()
    binaries = {
        service: Artifact(one.path, service, settings.version, one.sha256, one.size, origin)
        for service in SERVICES
        if (one := found.outputs.get(f"bin/{service}")) is not None and wanted
    }
    return Bundle(binaries, ui, found.provenance)


def images(settings: InfracoreBase, root: Path) -> dict[str, str]:
    """Return the locked images by service, "repo:tag@sha256:..."; none in mode systemd."""
    return pinned(settings, root) if settings.mode == "compose" else {}


def files_release(settings: InfracoreBase, bundle: Bundle, root: Path) -> tuple[Release, bytes]:
    """Return the release of configuration and interface, and its archive.

    Nothing in it is secret: every account of the host may read it.
    """
    services: dict[str, str] = {name: one.sha256 for name, one in bundle.binaries.items()}
    services |= {name: ref.rpartition("@")[2] for name, ref in images(settings, root).items()}
    files = {
        f"configs/{settings.config_name}.yaml": settings.config_text().encode(),
        "deployment-info.json": _info(settings, services, bundle.provenance),
        **{f"{UI}{name}": one.path.read_bytes() for name, one in bundle.ui.items()},
    }
    body = archives.tar(files)
    made = Release.make(
        settings.version,
        hashlib.sha256(body).hexdigest(),
        "infracore-files.tar",
        {"STACKPIN_VERSION": settings.version},
        "",
        key="",
        git_head=git_head(root),
        created_by=who(),
    )
    return made, body


def tree(release: Release) -> str:
    """Return the directory on the host that holds the files of a release."""
    return f"{HOME}/releases/{release.id}/site"


def _info(
    settings: InfracoreBase, services: Mapping[str, str], provenance: Mapping[str, Any]
) -> bytes:
    document = {
        "version": settings.version,
        "mode": settings.mode,
        "environment": settings.config_name,
        "services": dict(services),
        "source": {name: provenance[name] for name in _TOLD if provenance.get(name)},
    }
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()
