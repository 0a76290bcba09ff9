"""Build the reference InfraCore: five executables and the web UI, once per release.

    python -m stackpin.lab.apps.infracore.build --out DIR [--version v1.1.0 ...]

writes DIR/infracore-<version>/{bin/*,ui/dist/**,SHA256SUMS}. The UI is the same in every release:
npm builds it once, and again when its sources change.
"""

import argparse
import hashlib
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

from stackpin.errors import StackpinError
from stackpin.lab.apps.infracore.app.main import SERVICES
from stackpin.lab.apps.infracore.app.releases import RELEASES
from stackpin.lab.apps.infracore.node import tools
from stackpin.lab.apps.packing import modules, program, replace_file, sums
from stackpin.lab.commands import stream

__all__ = ["ALL", "MAIN", "PACKAGES", "UI", "binary", "build", "build_ui", "sources", "ui_files"]

ALL: tuple[str, ...] = tuple(RELEASES)
APPS = Path(__file__).parents[1]
UI = Path(__file__).parent / "ui"
PACKAGES = ("serving", "infracore/app")
VERSION_FILE = "apps/infracore/app/version.py"
MAIN = "infracore.app.main"
COMMANDS = (("ci",), ("run", "build"))
QUIET = {f"npm_config_{name}": "false" for name in ("audit", "fund", "update_notifier")}


def build(out: Path, versions: Sequence[str] = ALL, cache: Path | None = None) -> dict[str, Path]:
    """Write a bundle for each version and return version -> its directory.

    `cache` keeps the built UI (default: in `out`).
    """
    dist = build_ui(cache or out / ".cache")
    ui = {f"ui/dist/{path.relative_to(dist)}": path.read_bytes() for path in dist.rglob("*.*")}
    built = {}
    for version in versions:
        bundle = out / f"infracore-{version}"
        files = sources(version)
        wanted = {f"bin/{service}": binary(service, files) for service in SERVICES} | ui
        # Each file by itself: another run may be building, or deploying, the same bundle.
        for name, content in wanted.items():
            replace_file(bundle / name, content, 0o755 if name.startswith("bin/") else 0o644)
        for path in bundle.glob("ui/dist/**/[!.]*.*"):
            if str(path.relative_to(bundle)) not in wanted:
                path.unlink(missing_ok=True)
        replace_file(bundle / "SHA256SUMS", sums(bundle, [bundle / name for name in wanted]))
        built[version] = bundle
    return built


def sources(version: str) -> dict[str, str]:
    """Return name -> text of every module of this release."""
    if version not in RELEASES:
        raise ValueError(f"unknown version {version!r}; there are {', '.join(RELEASES)}")
    files = modules(APPS, *PACKAGES)
    marked = files[VERSION_FILE].replace('VERSION = "v1.0.0"', f'VERSION = "{version}"')
    return {**files, VERSION_FILE: marked}


def binary(service: str, files: dict[str, str]) -> bytes:
    """Return the executable of one service."""
    return program(files, MAIN, service)


def ui_files() -> list[Path]:
    """List the sources of the UI."""
    return sorted([*UI.glob("*.*"), *UI.glob("src/*.*")])


def build_ui(cache: Path) -> Path:
    """Return `dist`, built by npm in a copy of the sources unless `cache` has it."""
    key = hashlib.sha256(sums(UI, ui_files())).hexdigest()[:12]
    home = cache / f"ui-{key}"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / "ui.lock"):
        if not home.is_dir():
            with tempfile.TemporaryDirectory(dir=cache) as work:
                _npm(Path(work), cache / "ui.log")
                (Path(work) / "ui/dist").rename(home)
    return home


def _npm(work: Path, log: Path) -> None:
    for path in ui_files():
        replace_file(work / "ui" / path.relative_to(UI), path.read_bytes())
    programs = tools(work / "tools")
    environment = {
        **QUIET,
        "PATH": f"{programs}:{os.environ.get('PATH', '/usr/bin:/bin')}",
        "npm_config_cache": str(work / "npm"),
    }
    for words in COMMANDS:
        argv = [str(programs / "npm"), "--prefix", str(work / "ui"), *words]
        stream(argv, log, lambda _line: None, environment)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0, or the error's exit code."""
    parser = argparse.ArgumentParser(
        prog="infracore.build", description="Build the reference InfraCore."
    )
    parser.add_argument("--out", type=Path, required=True, help="the folder to write to")
    parser.add_argument("--version", action="append", choices=ALL, help="default: every version")
    options = parser.parse_args(arguments)
    try:
        built = build(options.out, options.version or ALL)
    except StackpinError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    for version, path in built.items():
        sys.stdout.write(f"{version} {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
