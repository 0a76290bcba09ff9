"""A stack of files: one symlink names the live release, renaming it over is the switch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from stackpin.host import disk
from stackpin.host.errors import refused
from stackpin.host.stack import Stack

if TYPE_CHECKING:
    import tarfile

__all__ = ["SITE", "differing", "live_release", "point", "tree", "unpack"]

SITE = "site"  # the directory of a release that holds the files to serve


def link_path(stack: Stack) -> Path:
    """Return the symlink the web server follows, {root}/{link}."""
    return stack.at(str(stack.static.get("root") or stack.opt)) / str(
        stack.static.get("link") or "current"
    )


def live_release(stack: Stack) -> str | None:
    """Return the release being served, None when there is none."""
    try:
        return Path(link_path(stack).readlink()).parent.name
    except OSError:
        return None


def point(stack: Stack, release: str | None) -> bool:
    """Serve a release (None: nothing), in one step and durably; False when that was so already."""
    if live_release(stack) == release:
        return False
    path = link_path(stack)
    if release is None:
        return disk.remove_file(path)
    disk.make_dir(path.parent)
    target = os.path.relpath(stack.release_dir(release) / SITE, path.parent)
    disk.replace_link(path, target)
    return True


def unpack(archive: Path, target: Path) -> None:
    """Unpack a tar archive of plain files and directories: 0644 and 0755, root's.

    Raises HostError(refused) for anything that could reach outside `target` or is no plain file.
    """
    import tarfile  # noqa: PLC0415 - every command imports this module, few unpack

    target.mkdir(mode=0o755)
    target.chmod(0o755)
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                _unpack_one(tar, member, target)
    except tarfile.TarError as error:
        raise refused(f"{archive.name}: not a tar archive ({error})") from error


def _unpack_one(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    parts = [part for part in member.name.split("/") if part not in ("", ".")]
    if ".." in parts or member.name.startswith("/"):
        raise refused(f"archive entry {member.name!r}: leads outside of the release")
    place = target.joinpath(*parts)
    folder = place if member.isdir() else place.parent
    for directory in [*reversed(folder.parents), folder]:
        if target in directory.parents and not directory.is_dir():
            directory.mkdir()
            directory.chmod(0o755)
    if member.isdir():
        return
    source = tar.extractfile(member) if member.isfile() else None
    if source is None:
        raise refused(f"archive entry {member.name!r}: expected a plain file or a directory")
    with place.open("wb") as file:
        while chunk := source.read(1 << 20):
            file.write(chunk)
    place.chmod(0o644)


def tree(site: Path) -> dict[str, str]:
    """Return {path: sha256} of all files below `site`; what is no plain file has "link"."""
    found = {}
    for folder, folders, names in os.walk(site):
        for name in [*names, *folders]:
            path = Path(folder) / name
            inner = str(path.relative_to(site))
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                found[inner] = "link"
            elif path.is_file():
                found[inner] = disk.sha256(path)
    return found


def differing(site: Path, wanted: dict[str, str]) -> list[str]:
    """List the files below `site` that are not those of `wanted`: altered, absent or added."""
    found = tree(site)
    return sorted(n for n in {*wanted, *found} if found.get(n) != wanted.get(n))
