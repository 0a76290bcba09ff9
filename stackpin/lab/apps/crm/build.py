"""Build the reference CRM: one executable file per release.

    python -m stackpin.lab.apps.crm.build --out DIR [--version v1.1.0 ...]

A release is a Python zipapp (`stackpin.lab.apps.packing`): the same sources give the same bytes.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from stackpin.lab.apps.crm.app.releases import RELEASES
from stackpin.lab.apps.packing import modules, program, replace_file, sums

ALL: tuple[str, ...] = tuple(RELEASES)
_APPS = Path(__file__).parents[1]


def build(out: Path, versions: Sequence[str] = ALL) -> dict[str, Path]:
    """Write `crm-<version>.pyz` for each version, and SHA256SUMS over all of them in `out`."""
    built = {}
    for version in versions:
        path = out / f"crm-{version}.pyz"
        replace_file(path, archive(version), 0o755)
        built[version] = path
    replace_file(out / "SHA256SUMS", sums(out, out.glob("crm-v*.pyz")))
    return built


def archive(version: str) -> bytes:
    """Return the bytes of one release."""
    if version not in RELEASES:
        raise ValueError(f"unknown version {version!r}; there are {', '.join(RELEASES)}")
    files = modules(_APPS, "serving", "crm/app")
    name = "apps/crm/app/version.py"
    files[name] = files[name].replace('VERSION = "v1.0.0"', f'VERSION = "{version}"')
    return program(files, "crm.app.main")


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
