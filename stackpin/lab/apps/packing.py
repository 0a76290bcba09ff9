"""Pack Python modules into one executable file, the same bytes whenever and wherever it is done.

Entries are sorted, carry one fixed date and are stored without compression, as what zlib makes of
them depends on its version. Standard library only: a product's own source tree has this file, too.
"""

import hashlib
import io
import os
import stat
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

__all__ = ["modules", "program", "replace_file", "sums"]

_SHEBANG = b"#!/usr/bin/env python3\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)
TOP = "apps"
"""The package above all others in the file: packages import each other relative to it."""


def modules(apps: Path, *packages: str) -> dict[str, str]:
    """Return name in the file -> text of every module of `packages`, directories below `apps`."""
    files = {}
    for package in packages:
        for above in (Path(), *Path(package).parents):
            files[str(TOP / above / "__init__.py")] = ""
        for path in (apps / package).glob("*.py"):
            files[f"{TOP}/{package}/{path.name}"] = path.read_text()
    return files


def program(files: Mapping[str, str], module: str, *arguments: str) -> bytes:
    """Return an executable of `files` that calls `main(*arguments)` of `module`."""
    start = f"import sys\n\nfrom {TOP}.{module} import main\n\nsys.exit(main(*{arguments!r}))\n"
    everything = {**files, "__main__.py": start}
    buffer = io.BytesIO(_SHEBANG)
    buffer.seek(0, io.SEEK_END)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as bundle:
        for name in sorted(everything):
            entry = zipfile.ZipInfo(name, date_time=_EPOCH)
            entry.create_system = 3
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            bundle.writestr(entry, everything[name])
    return buffer.getvalue()


def replace_file(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Replace the file in one step; a copy that is running keeps its own bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(content)
    beside.chmod(mode)
    beside.replace(path)


def sums(root: Path, paths: Iterable[Path]) -> bytes:
    """Return the lines of a SHA256SUMS file in `root`."""
    return "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(root)}\n"
        for path in sorted(paths)
    ).encode()
