"""Layers: a tree of files or a few files in memory, as one gzipped tar with a fixed order."""

import gzip
import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from stackpin.lab.registry.model import Layer, digest_of

__all__ = ["File", "Folder", "files_layer", "pack", "tree_layer"]

LEVEL = 1
"""gzip's fastest: these layers travel over a bridge, not over a country."""

OPAQUE = "trusted.overlay.opaque"


class File:
    """One file of a layer held in memory; `mode` as for chmod."""

    def __init__(self, content: str | bytes, mode: int = 0o644) -> None:
        self.content = content.encode() if isinstance(content, str) else content
        self.mode = mode


class Folder:
    """A directory of a layer held in memory that belongs to another than root."""

    def __init__(self, owner: int, mode: int = 0o755) -> None:
        self.owner = owner
        self.mode = mode


def tree_layer(root: Path, out: Path, keep: Callable[[str], bool], packaged_before: float) -> Layer:
    """Pack what an overlay's upper directory (or a whole root) holds into the file `out`.

    `keep` is asked with each path relative to `root`; a refused directory is left out whole. A file
    keeps its time when it is older than `packaged_before` (Unix seconds): Python's compiled modules
    name the time of their source. All other times are 0, so that equal packages give equal layers.
    Files deleted in the overlay become the whiteout entries that Docker knows.
    """
    digest, diff = _Digest(out.open("wb")), None
    with gzip.GzipFile("", "wb", LEVEL, digest, mtime=0) as packed:
        diff = _Digest(packed)
        with tarfile.open(mode="w|", fileobj=diff, format=tarfile.GNU_FORMAT) as bundle:
            for path, name in _walk(root, keep):
                _add(bundle, path, name, packaged_before)
    digest.close()
    return Layer(out, digest.name, diff.name, out.stat().st_size)


def files_layer(folder: Path, files: Mapping[str, File | Folder]) -> Layer:
    """Pack `files` (path in the image without leading slash -> file) into `folder`.

    The layer's file is named by its content: an existing one is used as it is.
    """
    plain = pack(files)
    diff_id = digest_of(plain)
    out = folder / f"{diff_id.removeprefix('sha256:')[:24]}.tar.gz"
    if not out.exists():
        folder.mkdir(parents=True, exist_ok=True)
        beside = out.with_name(f".{out.name}.{os.getpid()}")
        beside.write_bytes(gzip.compress(plain, LEVEL, mtime=0))
        beside.replace(out)
    content = out.read_bytes()
    return Layer(out, digest_of(content), diff_id, len(content))


def pack(files: Mapping[str, File | Folder]) -> bytes:
    """Return the tar of `files` with the directories above them, which belong to root."""
    folders = {str(above) for name in files for above in Path(name).parents} - {"."}
    buffer = io.BytesIO()
    with tarfile.open(mode="w", fileobj=buffer, format=tarfile.GNU_FORMAT) as bundle:
        for name in sorted(folders | set(files)):
            entry = tarfile.TarInfo(name)
            file = files.get(name, Folder(0))
            entry.mode = file.mode
            if isinstance(file, File):
                entry.size = len(file.content)
                bundle.addfile(entry, io.BytesIO(file.content))
            else:
                entry.type, entry.uid, entry.gid = tarfile.DIRTYPE, file.owner, file.owner
                bundle.addfile(entry)
    return buffer.getvalue()


def _walk(root: Path, keep: Callable[[str], bool]) -> Iterator[tuple[Path, str]]:
    for folder, folders, names in os.walk(root):
        here = Path(folder)
        inside = here.relative_to(root)
        for name in sorted([*folders, *names]):
            path = str(inside / name)
            if keep(path):
                yield here / name, path
        # Sorted and pruned in place: os.walk goes on with what is left here.
        folders[:] = sorted(
            name for name in folders if keep(str(inside / name)) and not (here / name).is_symlink()
        )


def _add(bundle: tarfile.TarFile, path: Path, name: str, packaged_before: float) -> None:
    info = path.lstat()
    if stat.S_ISCHR(info.st_mode) and info.st_rdev == 0:
        # Overlayfs marks a deleted file with a device 0/0, an image layer with a name.
        gone = Path(name)
        bundle.addfile(tarfile.TarInfo(str(gone.with_name(f".wh.{gone.name}"))))
        return
    if stat.S_ISSOCK(info.st_mode):
        return
    entry = bundle.gettarinfo(path, name)
    entry.uname = entry.gname = ""
    entry.mtime = int(info.st_mtime) if info.st_mtime < packaged_before else 0
    if stat.S_ISREG(info.st_mode) and entry.isreg():
        with path.open("rb") as content:
            bundle.addfile(entry, content)
    else:
        bundle.addfile(entry)
    if stat.S_ISDIR(info.st_mode) and _opaque(path):
        bundle.addfile(tarfile.TarInfo(f"{name}/.wh..wh..opq"))


def _opaque(path: Path) -> bool:
    try:
        return os.getxattr(path, OPAQUE) == b"y"
    except OSError:
        return False


class _Digest(io.RawIOBase):
    """A file that passes bytes on and knows their SHA-256."""

    def __init__(self, target: io.BufferedIOBase | gzip.GzipFile) -> None:
        self._target = target
        self._sum = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._sum.update(data)
        return self._target.write(data)

    def close(self) -> None:
        if isinstance(self._target, io.BufferedWriter):
            self._target.close()
        super().close()

    @property
    def name(self) -> str:
        return f"sha256:{self._sum.hexdigest()}"
