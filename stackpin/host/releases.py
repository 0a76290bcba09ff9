"""Releases on this host: complete, read-only directories named by what is in them."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stackpin.host import static
from stackpin.host.clock import now_text
from stackpin.host.disk import make_dir, read_json, remove_file, sync_dir, write_json
from stackpin.host.disk import sha256 as sha256_of
from stackpin.host.envfile import parse_env
from stackpin.host.errors import refused
from stackpin.host.mutex import mutex
from stackpin.host.progress import say
from stackpin.host.stack import Stack

__all__ = [
    "COMMANDS",
    "altered",
    "describe",
    "environment",
    "exists",
    "images",
    "sums",
    "version_of",
]

_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,120}$")
_SHA256 = re.compile(r"^[0-9a-f]{64}$")
_IMAGE = re.compile(r"^[^\s@]+:[^\s@/:]+@sha256:[0-9a-f]{64}$")
_SUMS = "sums.json"  # root's alone: the digest of an environment lets one try out guesses
_KEPT = ("id", "version", "artifact_sha256", "artifact_name", "git_head", "created_by", "images")


def exists(stack: Stack, release: str) -> bool:
    """Tell whether a release is here and complete: it gets its name only once it is."""
    return bool(_ID.match(release)) and (stack.release_dir(release) / "release.json").is_file()


def about(stack: Stack, release: str) -> dict[str, Any]:
    """Return release.json; empty when absent."""
    return read_json(stack.release_dir(release) / "release.json") or {}


def version_of(stack: Stack, release: str) -> str | None:
    """Return the version a release says it is."""
    version = about(stack, release).get("version")
    return None if version is None else str(version)


def environment(stack: Stack, release: str, slot: str | None) -> dict[str, str]:
    """Return the variables a slot runs a release with.

    Those made on this host first (env_files), then the release's, then the slot's own: of a name
    given twice the last one counts.
    """
    values: dict[str, str] = {}
    paths = [stack.at(path) for path in stack.env_files]
    paths.append(stack.release_dir(release) / "env")
    if slot is not None:
        paths.append(stack.slot_env_file(slot))
    for path in paths:
        if path.is_file():
            values.update(parse_env(path.read_text(encoding="utf-8")))
    return values


def images(stack: Stack, release: str) -> list[str]:
    """Return the images a release needs, as repo:tag@sha256:..., sorted."""
    found = about(stack, release).get("images") or {}
    return sorted({str(reference) for reference in found.values()})


def describe(stack: Stack) -> list[dict[str, Any]]:
    """Return [{id, version, complete, created, size, artifact_sha256}], newest first."""
    found = []
    if stack.releases_dir.is_dir():
        for path in stack.releases_dir.iterdir():
            if path.name.startswith(".") or not path.is_dir():
                continue
            info = about(stack, path.name)
            found.append(
                {
                    "id": path.name,
                    "version": info.get("version"),
                    "complete": bool(info),
                    "created": info.get("created"),
                    "size": info.get("size"),
                    "artifact_sha256": info.get("artifact_sha256"),
                }
            )
    return sorted(found, key=lambda item: str(item["created"]), reverse=True)


def receive(stack: Stack, payload: dict[str, Any]) -> dict[str, Any]:
    """Build a release's directory: receive {release: {...}, env, unit, artifact_path?}.

    release: {id, version, artifact_sha256, artifact_name, git_head, created_by, images?}. The
    artifact is looked for at artifact_path, in incoming/<sha256>, then in the other releases. For
    stacks of images it is `unit` itself, and images is {role: "repo:tag@sha256:..."}.
    -> {release, changed, path}. Raises HostError(refused): artifact absent or altered.
    """
    info = payload.get("release") or {}
    release, sha256 = str(info.get("id", "")), str(info.get("artifact_sha256", ""))
    if not _ID.match(release) or not _SHA256.match(sha256):
        raise refused(
            f"release {release!r} with sha256 {sha256!r}: expected an id of letters, digits and "
            "._+- and 64 hexadecimal digits"
        )
    target = stack.release_dir(release)
    with mutex(stack):
        if exists(stack, release) and _intact(stack, release, sha256):
            return {"release": release, "changed": False, "path": str(target)}
        artifact = None
        if stack.uses_images:
            _require_images(release, sha256, payload)
        else:
            artifact = _find_artifact(stack, sha256, payload.get("artifact_path"))
        building = stack.releases_dir / f".tmp-{release}"
        shutil.rmtree(building, ignore_errors=True)
        make_dir(stack.releases_dir)
        building.mkdir(mode=0o755)
        building.chmod(0o755)
        _fill(stack, building, artifact, payload)
        if target.exists():
            # Somebody changed it after it was complete; put the declared content back.
            spoiled = stack.releases_dir / f".old-{release}"
            shutil.rmtree(spoiled, ignore_errors=True)
            target.rename(spoiled)
        building.rename(target)
        sync_dir(stack.releases_dir)
        shutil.rmtree(stack.releases_dir / f".old-{release}", ignore_errors=True)
        if artifact is not None and stack.incoming_dir in artifact.parents:
            remove_file(artifact)
    say(f"release {release} is complete on this host")
    return {"release": release, "changed": True, "path": str(target)}


def _require_images(release: str, sha256: str, payload: dict[str, Any]) -> None:
    text = payload.get("unit")
    found = hashlib.sha256(text.encode()).hexdigest() if isinstance(text, str) else None
    if found != sha256:
        raise refused(
            f"release {release}: `unit` has sha256 {found}, expected {sha256}; the release was "
            "altered on its way, deploy again"
        )
    references = (payload["release"].get("images") or {}).values()
    wrong = [str(item) for item in references if not _IMAGE.match(str(item))]
    if wrong or not references:
        told = ", ".join(wrong) or "none"
        raise refused(
            f"release {release}: images {told}; expected repo:tag@sha256:... for each, pin them "
            "(`stackpin pin`)"
        )


def _fill(stack: Stack, building: Path, artifact: Path | None, payload: dict[str, Any]) -> None:
    info = payload["release"]
    if stack.is_static and artifact is not None:
        static.unpack(artifact, building / static.SITE)
    else:
        unit, env = payload.get("unit"), payload.get("env")
        if not isinstance(unit, str) or not unit.strip() or not isinstance(env, str):
            raise refused("receive: `unit` and `env` must be the texts of those files")
        # What runs can be asked which release it is (/proc/PID/environ), so drift can be seen.
        if "STACKPIN_RELEASE" not in parse_env(env):
            env += ("\n" if env else "") + f'STACKPIN_RELEASE="{info["id"]}"\n'
        _put(building / "env", env.encode(), 0o600)
        _put(building / stack.spec_name, unit.encode(), 0o644)
        if artifact is None:
            _finish(stack, building, info)
            return
        shutil.copyfile(artifact, building / "server")
        (building / "server").chmod(0o755)
        if sha256_of(building / "server") != info["artifact_sha256"]:
            raise refused(f"{artifact}: changed while it was copied; upload it again")
    _finish(stack, building, info)


def _finish(stack: Stack, building: Path, info: dict[str, Any]) -> None:
    """Describe what is there and make it durable, before it gets its name."""
    size = sum(p.stat().st_size for p in building.rglob("*") if p.is_file())
    about = {key: info.get(key) for key in _KEPT if key != "images" or info.get(key)}
    if stack.is_static:
        about["files"] = static.tree(building / static.SITE)
    else:
        write_json(building / _SUMS, {p.name: sha256_of(p) for p in building.iterdir()}, 0o600)
    write_json(building / "release.json", {**about, "created": now_text(), "size": size}, 0o644)
    for path in [building, *building.rglob("*")]:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _intact(stack: Stack, release: str, sha256: str) -> bool:
    if about(stack, release).get("artifact_sha256") != sha256:
        raise refused(
            f"release {release}: this host has it with another artifact (sha256 "
            f"{about(stack, release).get('artifact_sha256')}); expected {sha256}: give the "
            "release another version"
        )
    return not altered(stack, release)


def sums(stack: Stack, release: str) -> dict[str, str]:
    """Return {path below its directory: sha256} of the files of a release as they were received.

    Of releases made before all was recorded: the artifact's alone, and no pages.
    """
    base, info = stack.release_dir(release), about(stack, release)
    if stack.is_static:
        return {f"{static.SITE}/{n}": str(v) for n, v in (info.get("files") or {}).items()}
    name = stack.spec_name if stack.uses_images else "server"
    return {**(read_json(base / _SUMS) or {}), name: str(info.get("artifact_sha256"))}


def altered(stack: Stack, release: str) -> list[str]:
    """List the files of a release, below its directory, that are not what was uploaded.

    Releases of pages made before their files were recorded are only asked for their directory.
    """
    base = stack.release_dir(release)
    if not stack.is_static:
        return sorted(_differing(base, sums(stack, release), {"env", stack.spec_name}))
    site, files = base / static.SITE, about(stack, release).get("files")
    if not site.is_dir() or site.is_symlink():
        return [static.SITE]
    names = static.differing(site, files) if isinstance(files, dict) else []
    return [f"{static.SITE}/{name}" for name in names]


def _differing(base: Path, wanted: dict[str, str], known: set[str]) -> Iterator[str]:
    """Name what differs from `wanted`, and what is neither in it nor `known`."""
    for name, sha256 in wanted.items():
        if not (base / name).is_file() or sha256_of(base / name) != sha256:
            yield name
    if base.is_dir():
        yield from {p.name for p in base.iterdir()} - {*wanted, *known, "release.json", _SUMS}


def _find_artifact(stack: Stack, sha256: str, given: object) -> Path:
    places = [stack.at(str(given))] if given else []
    places.append(stack.incoming_dir / sha256)
    for item in describe(stack):
        if item["artifact_sha256"] == sha256 and not stack.is_static:
            places.append(stack.release_dir(item["id"]) / "server")
    wrong = ""
    for place in places:
        if place.is_file():
            if sha256_of(place) == sha256:
                return place
            wrong = f"; {place} has other content: the upload was cut or altered"
    raise refused(
        f"artifact {sha256[:12]}: not found at {', '.join(str(p) for p in places)}{wrong}; "
        "upload it first",
        needs_artifact=sha256,
    )


def _put(path: Path, data: bytes, mode: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        os.fchmod(file.fileno(), mode)


COMMANDS = {"receive": receive}
