"""The host program as one file: a zipapp whose bytes depend on nothing but its sources."""

from __future__ import annotations

import hashlib
import io
import zipfile
from functools import cache
from pathlib import Path

import stackpin

__all__ = ["host_program", "unpacked"]

_MAIN = "import sys\nfrom stackpin.host.main import main\nsys.exit(main())\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip entry can have


def unpacked(digest: str) -> str:
    """Return the folder the program with this sha256 lies in, on a host, until it reboots.

    Its modules, and the archive itself as `zip`.
    """
    return f"/run/stackpin/host-{digest[:12]}.pyz"


@cache
def host_program() -> tuple[bytes, str]:
    """Return (content, sha256 in hex) of host.pyz.

    The same sources give the same bytes on every machine: entries are sorted, dated 1980 and
    stored uncompressed, because compressed bytes differ between versions of zlib.
    """
    package = Path(stackpin.__file__).parent
    sources = {"__main__.py": _MAIN.encode()}
    for path in [package / "__init__.py", *(package / "host").rglob("*.py")]:
        sources[f"stackpin/{path.relative_to(package).as_posix()}"] = path.read_bytes()
    buffer = io.BytesIO(b"")
    buffer.write(b"#!/usr/bin/python3\n")
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as archive:
        for name in sorted(sources):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o100644 << 16
            entry.create_system = 3  # Unix, also when built elsewhere
            archive.writestr(entry, sources[name])
    content = buffer.getvalue()
    return content, hashlib.sha256(content).hexdigest()
