"""Build the reference CRM: one executable file per release.

    python -m stackpin.lab.apps.crm.build --out DIR [--version v1.1.0 ...]

A release is a Python zipapp. The same sources give the same bytes, whenever and wherever they are
built: entries are sorted, carry one fixed date and are stored without compression, as what zlib
makes of them depends on its version.
"""

import argparse
import hashlib
import io
import os
import stat
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from stackpin.lab.apps.crm.app.releases import RELEASES

ALL: tuple[str, ...] = tuple(RELEASES)
PACKAGE = "crm"

_SHEBANG = b"#!/usr/bin/env python3\n"
_MAIN = f"import sys\n\nfrom {PACKAGE}.main import main\n\nsys.exit(main())\n"
_SOURCES = Path(__file__).parent / "app"
_EPOCH = (1980, 1, 1, 0, 0, 0)


def build(out: Path, versions: Sequence[str] = ALL) -> dict[str, Path]:
    """Write `crm-<version>.pyz` for each version, and SHA256SUMS over all of them in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    built = {}
    for version in versions:
        path = out / f"crm-{version}.pyz"
        _write(path, archive(version), 0o755)
        built[version] = path
    sums = (f"{_sha256(path)}  {path.name}\n" for path in sorted(out.glob("crm-v*.pyz")))
    _write(out / "SHA256SUMS", "".join(sums).encode(), 0o644)
    return built


def archive(version: str) -> bytes:
    """Return the bytes of one release."""
    if version not in RELEASES:
        raise ValueError(f"unknown version {version!r}; there are {', '.join(RELEASES)}")
    files = {f"{PACKAGE}/{path.name}": path.read_text() for path in _SOURCES.glob("*.py")}
    source = files[f"{PACKAGE}/version.py"]
    marked = f'VERSION = "{version}"'
    files[f"{PACKAGE}/version.py"] = source.replace('VERSION = "v1.0.0"', marked)
    files["__main__.py"] = _MAIN
    buffer = io.BytesIO(_SHEBANG)
    buffer.seek(0, io.SEEK_END)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as bundle:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, date_time=_EPOCH)
            entry.create_system = 3
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            bundle.writestr(entry, files[name])
    return buffer.getvalue()


def _write(path: Path, content: bytes, mode: int) -> None:
    """Replace the file in one step; a copy that is running keeps its own bytes."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(content)
    beside.chmod(mode)
    beside.replace(path)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="crm.build", description="Build the reference CRM.")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write to")
    parser.add_argument("--version", action="append", choices=ALL, help="default: every version")
    options = parser.parse_args(arguments)
    for version, path in build(options.out, options.version or ALL).items():
        sys.stdout.write(f"{version} {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
