"""Releases that are files: archives which depend on names and contents alone."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from stackpin.errors import Refused

__all__ = ["LARGEST", "folder", "read_text", "tar"]

LARGEST = 256 * 1024 * 1024  # bytes of all files together; more is a mistaken folder


def folder(variable: str, path: Path, *, hidden: bool = False) -> dict[str, bytes]:
    """Return {name below `path`: content} of its files; those with a leading dot if `hidden`.

    Raises Refused naming `variable` when they are too many bytes, or when a link leads out of the
    folder: what it points to was never meant to be published.
    """
    whole = path.resolve()
    paths = sorted(
        one
        for one in path.rglob("*")
        if one.is_file()
        and (hidden or not any(p.startswith(".") for p in one.relative_to(path).parts))
    )
    for one in paths:
        if not one.resolve().is_relative_to(whole):
            raise Refused(
                f"{variable}: found {one.relative_to(path)} in {path}, a link out of the folder; "
                "expected plain files. Put the file itself there."
            )
    size = sum(one.stat().st_size for one in paths)
    if size > LARGEST:
        raise Refused(
            f"{variable}: found {size >> 20} MiB in {path}; expected files of at most "
            f"{LARGEST >> 20} MiB. Refer to the folder of these files alone."
        )
    return {one.relative_to(path).as_posix(): one.read_bytes() for one in paths}


def tar(files: Mapping[str, bytes]) -> bytes:
    """Return the tar archive of `files`; equal names and contents are equal bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def read_text(path: Path, variable: str) -> str:
    """Return the text of a local file. Raises Refused naming `variable`."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(
            f"{variable}: found no readable text at {path} ({error}); expected the file. "
            "Put it there or change the variable."
        ) from None
