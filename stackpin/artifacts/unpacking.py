"""Unpacks archives nobody has to trust: only files and directories, only below the target."""

from __future__ import annotations

import gzip
import io
import shutil
import tarfile
import zlib
from pathlib import Path
from typing import Protocol

from stackpin.artifacts.outputs import is_plain
from stackpin.errors import Refused

__all__ = ["is_archive", "stem", "unpack", "unpack_stream"]


class Readable(Protocol):
    """What bytes can be read from."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most `size` bytes, none at the end."""


BYTES_MAX = 4 * 1024**3  # of an archive's content
MEMBERS_MAX = 100_000
_ENDINGS = (".tar.gz", ".tgz")


def is_archive(name: str) -> bool:
    """Whether a file of this name is unpacked."""
    return name.endswith(_ENDINGS)


def stem(name: str) -> str:
    """Return an archive's name without its ending."""
    return next(name.removesuffix(one) for one in _ENDINGS if name.endswith(one))


def unpack(archive: Path, into: Path, what: str) -> None:
    """Unpack a .tar.gz into the empty directory `into`. Raises Refused.

    The one directory that all is in and that is called like the archive is left out.
    """
    try:
        with gzip.open(archive) as stream:
            unpack_stream(stream, into, what)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise _refused(what, f"damage: {error}") from None
    _without_top(into, stem(archive.name))


def unpack_stream(stream: Readable, into: Path, what: str) -> None:
    """Unpack a tar that is read from `stream`. Raises Refused for what is no plain tree."""
    limited = _Limited(stream, what)
    try:
        with tarfile.open(fileobj=limited, mode="r|") as tar:
            for count, member in enumerate(tar):
                if count >= MEMBERS_MAX:
                    raise _refused(what, f"more than {MEMBERS_MAX} members")
                _member(tar, member, into, what)
    except (tarfile.TarError, UnicodeError) as error:
        raise _refused(what, f"damage: {error}") from None
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise _refused(what, f"a name twice: {Path(str(error.filename)).name}") from None


def _member(tar: tarfile.TarFile, member: tarfile.TarInfo, into: Path, what: str) -> None:
    name = member.name.removeprefix("./")
    if member.isdir() and name in {"", "."}:
        return
    if not is_plain(name.rstrip("/")):
        raise _refused(what, f"the path {member.name!r}")
    target = into / name
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    content = tar.extractfile(member) if member.isreg() else None
    if content is None:
        raise _refused(what, f"{member.name!r}, a link or device")
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        shutil.copyfileobj(content, file)
    target.chmod(0o755 if member.mode & 0o100 else 0o644)


def _without_top(into: Path, name: str) -> None:
    top = into / name
    if [one.name for one in into.iterdir()] == [name] and top.is_dir():
        aside = into.with_name(into.name + ".top")
        top.rename(aside)
        into.rmdir()
        aside.rename(into)


def _refused(what: str, found: str) -> Refused:
    return Refused(
        f"{what}: found {found} in the archive, expected files and directories with relative "
        f"paths, at most {BYTES_MAX >> 30} GiB. Make the archive anew."
    )


class _Limited(io.RawIOBase):
    """Reads from a stream until more comes out of it than an artifact may have."""

    def __init__(self, stream: Readable, what: str) -> None:
        self._stream, self._what, self._left = stream, what, BYTES_MAX

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size if size >= 0 else 1 << 20)
        self._left -= len(data)
        if self._left < 0:
            raise _refused(self._what, "more than that")
        return data
