"""The Debian part of the images: one small root, and a layer per set of packages above it.

No Docker is needed: debootstrap makes the root, apt works in it through an overlay, and what the
overlay's upper directory holds afterwards is the layer. All mounts live in a namespace of their
own, so that an interrupted build leaves none behind.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from stackpin.errors import Refused
from stackpin.lab.apps.xingrin.layers import tree_layer
from stackpin.lab.commands import Report, stream
from stackpin.lab.image import write_apt
from stackpin.lab.registry.model import Layer
from stackpin.lab.requirements import check_root, missing_packages
from stackpin.lab.sources import Mirrors, codename, find_mirrors, machine_sources

__all__ = ["SETS", "debian_layers", "folder_of", "shipped"]

RELEASE = "trixie"
RECIPE = 1
"""Raise when what a build does changes: it is part of the cache key."""

BASE = ("ca-certificates", "curl")
SETS: dict[str, tuple[str, ...]] = {
    "python": ("python3", "python3-psycopg2"),
    "nginx": ("nginx-light",),
    "redis": ("redis-server", "redis-tools"),
    "postgres": ("postgresql", "postgresql-client"),
}
"""Layer -> its packages. Each lies directly above `base`."""

ONLY_WHILE_BUILDING = {
    "usr/sbin/policy-rc.d": ("#!/bin/sh\nexit 101\n", 0o755),
    "etc/postgresql-common/createcluster.conf": ("create_main_cluster = false\n", 0o644),
    "etc/dpkg/dpkg.cfg.d/lab": ("force-unsafe-io\nforce-confold\n", 0o644),
}

EMPTIED = (
    *("dev", "proc", "sys", "run", "tmp", "boot", "media", "mnt"),
    *("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info"),
    *("usr/share/lintian", "usr/share/doc-base", "usr/lib/x86_64-linux-gnu/gconv"),
    *("var/cache", "var/lib/apt", "var/log", "var/lib/dpkg/info", "var/backups", "etc/apt"),
)
"""Directories whose content no layer gets; they themselves stay, as programs expect them."""

LEFT_OUT = (
    *("etc/machine-id", "etc/hostname", "etc/resolv.conf", "var/lib/dpkg/status-old"),
    *("etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-"),
    # A key made up by each build: no image should hold one, and no two builds would be alike.
    *("etc/ssl/private/ssl-cert-snakeoil.key", "etc/ssl/certs/ssl-cert-snakeoil.pem"),
    *ONLY_WHILE_BUILDING,
)

NEVER_USED = (
    # The just-in-time compiler of PostgreSQL: 160 MB, and it does without when it is not there.
    *("usr/lib/x86_64-linux-gnu/libLLVM", "usr/lib/x86_64-linux-gnu/libz3"),
    *("usr/lib/postgresql/17/lib/llvmjit", "usr/lib/postgresql/17/lib/bitcode"),
    *("usr/share/i18n/locales/", "usr/share/postgresql/17/man"),
)
"""Beginnings of paths that are large and that nothing here needs."""

IN_OVERLAY = """
set -e
spare=
mkdir -p "$3" "$4" "$2"
if ! mount -t overlay lab -o "lowerdir=$1,upperdir=$2,workdir=$3" "$4" 2>/dev/null; then
  spare=$(dirname "$3")/spare
  mkdir -p "$spare"
  mount -t tmpfs lab "$spare"
  cp -a "$2" "$spare/upper"
  mkdir "$spare/work"
  mount -t overlay lab -o "lowerdir=$1,upperdir=$spare/upper,workdir=$spare/work" "$4"
fi
target=$4 upper=$2
shift 4
mount -t proc proc "$target/proc"
chroot "$target" "$@"
umount "$target/proc" "$target"
if [ -n "$spare" ]; then rm -rf "$upper"; cp -a "$spare/upper" "$upper"; fi
"""
"""Arguments: lowerdir, upper, work, mount point, then the command to run inside.

An upper directory cannot lie on an overlay itself: it then lives in memory and is copied.
"""

ENV = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
}


def key() -> str:
    """Twelve hex digits that change whenever the layers would."""
    text = json.dumps(
        [RELEASE, RECIPE, BASE, SETS, EMPTIED, LEFT_OUT, NEVER_USED, ONLY_WHILE_BUILDING]
    )
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def folder_of(cache: Path) -> Path:
    """Where the layers of this recipe are kept (it may not exist yet)."""
    # A name that the lab's `purge_cache` knows.
    return cache / f"xingrin-{key()}"


def shipped(path: str) -> bool:
    """Tell whether a path of a root (without leading slash) goes into a layer."""
    inside_emptied = path.startswith(tuple(f"{place}/" for place in EMPTIED))
    return not (path in LEFT_OUT or inside_emptied or path.startswith(NEVER_USED))


def debian_layers(cache: Path, report: Report) -> dict[str, Layer]:
    """Return the layer of each set and of `base`, built now if they are not in `cache`.

    Refused when this machine cannot build (not root, no debootstrap, no Debian archive known).
    """
    folder = folder_of(cache)
    index = folder / "layers.json"
    if not index.is_file():
        _check()
        cache.mkdir(parents=True, exist_ok=True, mode=0o755)
        # The same lock as the base image: it removes what interrupted builds left.
        with FileLock(cache / "build.lock"):
            if not index.is_file():
                part = folder.with_name(f"{folder.name}.part")
                shutil.rmtree(part, ignore_errors=True)
                mirrors = find_mirrors(
                    machine_sources(), codename(), os.environ.get("STACKPIN_LAB_MIRROR")
                )
                _Build(part, mirrors, cache / "build.log", report).all()
                shutil.rmtree(folder, ignore_errors=True)
                part.rename(folder)
    return {
        name: Layer(folder / f"{name}.tar.gz", entry["digest"], entry["diff_id"], entry["size"])
        for name, entry in json.loads(index.read_text()).items()
    }


def _check() -> None:
    check_root()
    if lacking := {"debootstrap", "mount", "util-linux"} & set(missing_packages()):
        raise Refused(
            f"building the lab's images needs {', '.join(sorted(lacking))}: "
            f"run `apt-get install -y --no-install-recommends {' '.join(sorted(lacking))}`"
        )


@dataclass(frozen=True)
class _Build:
    folder: Path
    mirrors: Mirrors
    log: Path
    report: Report

    def all(self) -> None:
        self.folder.mkdir()
        started = time.time()
        with ThreadPoolExecutor(3) as pool:
            self._base()
            base = pool.submit(self._pack, "base", self.folder / "base", started)
            self._lists()
            sets = {name: pool.submit(self._set, name, started) for name in SETS}
            layers = {"base": base.result()}
            layers |= {name: done.result() for name, done in sets.items()}
        entries = {
            name: {"digest": layer.digest, "diff_id": layer.diff_id, "size": layer.size}
            for name, layer in layers.items()
        }
        for leftover in self.folder.iterdir():
            if leftover.is_dir():
                shutil.rmtree(leftover)
        (self.folder / "layers.json").write_text(json.dumps(entries, indent=1))

    def _base(self) -> None:
        root = self.folder / "base"
        self.report("building the images' Debian base (once, about a minute)")
        command = ["debootstrap", "--variant=minbase", f"--include={','.join(BASE)}"]
        stream(
            [*_isolated(), *command, RELEASE, str(root), self.mirrors.main],
            self.log,
            lambda line: self.report(f"building the images: {line.removeprefix('I: ')[:60]}"),
            ENV,
        )
        (root / "etc/apt/sources.list").unlink(missing_ok=True)

    def _lists(self) -> None:
        """Put apt's settings and lists into a directory of their own; no layer gets them."""
        upper = self.folder / "lists"
        for place in ("etc/apt/sources.list.d", "etc/apt/apt.conf.d"):
            (upper / place).mkdir(parents=True, exist_ok=True)
        write_apt(upper, RELEASE, self.mirrors)
        _put(upper, ONLY_WHILE_BUILDING)
        self._inside("lists", [self.folder / "base"], "apt-get", "update")

    def _set(self, name: str, started: float) -> Layer:
        self.report(f"building the images: {', '.join(SETS[name])}")
        lower = [self.folder / "lists", self.folder / "base"]
        command = ["apt-get", "install", "-y", "-q", "--no-install-recommends"]
        self._inside(name, lower, *command, *SETS[name])
        return self._pack(name, self.folder / name, started)

    def _inside(self, name: str, lower: list[Path], *command: str) -> None:
        work, root = self.folder / f"{name}.d/work", self.folder / f"{name}.d/root"
        places = [":".join(map(str, lower)), str(self.folder / name), str(work), str(root)]
        script = ["sh", "-c", IN_OVERLAY, "overlay", *places, *command]
        stream([*_isolated(), *script], self.log, lambda _line: None, ENV)

    def _pack(self, name: str, root: Path, started: float) -> Layer:
        return tree_layer(root, self.folder / f"{name}.tar.gz", shipped, started)


def _put(root: Path, files: Mapping[str, tuple[str, int]]) -> None:
    for name, (text, mode) in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)


def _isolated() -> list[str]:
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]
