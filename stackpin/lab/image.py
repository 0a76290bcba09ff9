"""The images: Debian roots built once, shared read-only by all hosts of all labs."""

import hashlib
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from stackpin.errors import Refused
from stackpin.lab.commands import Report, stream
from stackpin.lab.sources import Mirrors, acquire_settings

__all__ = ["PACKAGE_SETS", "ensure_image", "ensure_layer", "image_key", "purge_cache"]

PACKAGE_SETS: dict[str, tuple[str, ...]] = {
    "base": (
        *("systemd", "systemd-sysv", "dbus", "libpam-systemd", "openssh-server", "python3"),
        *("sudo", "iproute2", "ca-certificates", "curl", "procps", "openssl", "git"),
        *("nginx-light", "sqlite3", "restic"),
    ),
    "docker": (
        *("docker.io", "docker-cli", "docker-compose", "iptables", "nftables"),
        "docker-registry",
    ),
}
"""What an image contains. A further set becomes a layer of its own above `base`."""

DISABLED = {"docker": ("docker-registry.service", "nftables.service")}
"""Services of a layer that a host starts only when it is told to."""

LACKING = {"docker": ("bookworm", "bullseye")}
"""Releases without the packages of a layer: these have no Compose v2."""

RECIPE = 1
"""Raise when `_Build` changes: it is part of the cache key."""

DEPLOY_UID = 1000

MASKED = (
    # Would change the host behind a test's back, or touch the machine's kernel.
    *("apt-daily.timer", "apt-daily-upgrade.timer", "apt-daily.service"),
    *("apt-daily-upgrade.service", "fstrim.timer", "dpkg-db-backup.timer"),
    *("systemd-timesyncd.service", "systemd-modules-load.service"),
    # Host keys come from the lab, so that known_hosts is right before the first boot.
    *("sshd-keygen.service", "console-getty.service"),
)

FILES = {
    "etc/sudoers.d/deploy": ("deploy ALL=(ALL:ALL) NOPASSWD: ALL\n", 0o440),
    "etc/systemd/journald.conf.d/lab.conf": ("[Journal]\nStorage=persistent\n", 0o644),
    "etc/ssh/sshd_config.d/lab.conf": (
        "HostKey /etc/ssh/ssh_host_ed25519_key\nPasswordAuthentication no\nUseDNS no\n",
        0o644,
    ),
}


def image_key(release: str, packages: Sequence[str], recipe: int = RECIPE) -> str:
    """Twelve hex digits that change whenever the image would."""
    text = "\n".join([release, *sorted(packages), str(recipe)])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def ensure_image(release: str, mirrors: Mirrors, cache: Path, report: Report) -> Path:
    """Return the base image of a release; built now if it is not cached.

    A build happens in a `.part` directory that gets its real name when it is complete, so that an
    interrupted one is never used. Refused when debootstrap does not know the release.
    """
    packages = PACKAGE_SETS["base"]
    image = cache / f"{release}-{image_key(release, packages)}"
    if image.is_dir():
        return image
    if not Path("/usr/share/debootstrap/scripts", release).exists():
        raise Refused(f"debootstrap here does not know the Debian release {release!r}")
    cache.mkdir(parents=True, exist_ok=True, mode=0o755)
    with FileLock(cache / "build.lock"):
        if not image.is_dir():
            for leftover in cache.glob("*.part"):
                shutil.rmtree(leftover)
            part = image.with_name(image.name + ".part")
            build = _Build(part, release, mirrors, cache / "build.log", report)
            build.install(packages)
            build.customise()
            part.rename(image)
    return image


def ensure_layer(  # noqa: PLR0917 - as ensure_image, with two things more
    kind: str, release: str, base: Path, mirrors: Mirrors, cache: Path, report: Report
) -> Path:
    """Return the layer with the packages `PACKAGE_SETS[kind]` above `base`; built if not cached.

    Refused where the release lacks them; StackpinError where the cache's file system cannot carry
    an overlay.
    """
    if release in LACKING.get(kind, ()):
        raise Refused(f"Debian {release} lacks {kind} as the lab needs it: use another --release")
    packages = PACKAGE_SETS[kind]
    # The base's name is part of the key: a layer only fits the image it was built on.
    layer = cache / f"{release}-{image_key(base.name, [kind, *packages])}"
    if layer.is_dir():
        return layer
    with FileLock(cache / "build.lock"):
        if not layer.is_dir():
            part = layer.with_name(layer.name + ".part")
            if part.exists():
                shutil.rmtree(part)
            for name in ("upper", "work", "merged"):
                (part / name).mkdir(parents=True)
            build = _Build(part / "merged", release, mirrors, cache / "build.log", report, base)
            build.add(packages, DISABLED.get(kind, ()))
            # The layer is the upper directory alone; overlay needs `work` only while it is mounted.
            (part / "upper").rename(layer)
            shutil.rmtree(part)
    return layer


@dataclass(frozen=True)
class _Build:
    root: Path
    release: str
    mirrors: Mirrors
    log: Path
    report: Report
    base: Path | None = None

    def add(self, packages: Sequence[str], disabled: Sequence[str]) -> None:
        """Install packages above the base image."""
        self.log.write_text("")
        # Nothing is started in a chroot, and nothing asks.
        apt = ("apt-get", "-o", "DPkg::Options::=--force-unsafe-io", "--no-install-recommends")
        self.inside("apt-get", "update")
        self.inside(*apt, "install", "-y", *packages)
        self.inside("apt-get", "clean")
        if disabled:
            self.inside("systemctl", "disable", *disabled)

    def install(self, packages: Sequence[str]) -> None:
        self.log.write_text("")
        self.report(f"building the {self.release} image (once, about a minute)")
        target = (self.release, str(self.root), self.mirrors.main)
        include = f"--include={','.join(packages)}"
        stream(
            [*_isolated(), "debootstrap", "--variant=minbase", include, *target],
            self.log,
            lambda line: self.report(f"building the image: {line.removeprefix('I: ')[:60]}"),
            {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"},
        )

    def customise(self) -> None:
        root = self.root
        for key in root.glob("etc/ssh/ssh_host_*"):
            key.unlink()
        for unit in MASKED:
            link = root / "etc/systemd/system" / unit
            link.unlink(missing_ok=True)
            link.symlink_to("/dev/null")
        for name, (text, mode) in FILES.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(mode)
        (root / "var/log/journal").mkdir(exist_ok=True)
        write_apt(root, self.release, self.mirrors)
        user = ("--create-home", "--user-group", "--shell=/bin/bash", f"--uid={DEPLOY_UID}")
        self.inside("useradd", *user, "deploy")
        self.inside("systemctl", "enable", "systemd-networkd")
        # So that a host can install packages at once; the lists are as old as the image.
        self.inside("apt-get", "update")
        self.inside("apt-get", "clean")
        # Each host gets its own, and its presence says that a disk is furnished.
        (root / "etc/machine-id").unlink(missing_ok=True)
        (root / "var/lib/dbus/machine-id").unlink(missing_ok=True)

    def inside(self, *command: str) -> None:
        self.report(f"building the image: {' '.join(command[:2])}")
        path = "/usr/sbin:/usr/bin:/sbin:/bin"
        env = {"PATH": path, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
        in_root = [*_isolated(), *self._mounted(), "chroot", str(self.root), *command]
        stream(in_root, self.log, lambda _line: None, env)

    def _mounted(self) -> list[str]:
        """Mount the layer over its base, for one command: the mount goes with its namespace."""
        if self.base is None:
            return []
        part = self.root.parent
        options = f"lowerdir={self.base},upperdir={part / 'upper'},workdir={part / 'work'}"
        script = (
            'mount -t overlay stackpin-lab -o "$1" "$2" || { echo "no overlay can be mounted in'
            ' the cache: set STACKPIN_LAB_CACHE to a directory on a disk"; exit 1; };'
            ' mount -t proc proc "$2/proc"; shift 2; exec "$@"'
        )
        return ["sh", "-c", script, "layer", options, str(self.root)]


def write_apt(root: Path, release: str, mirrors: Mirrors) -> None:
    """Point a host's apt at the mirror this machine uses, with its proxy and date settings."""
    apt = root / "etc/apt"
    (apt / "sources.list").unlink(missing_ok=True)
    (apt / "sources.list.d/debian.sources").write_text(mirrors.sources(release))
    (apt / "apt.conf.d/90stackpin-lab").write_text(acquire_settings())


def _isolated() -> list[str]:
    """Own mounts and own processes: whatever ends the build leaves neither behind."""
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]


def purge_cache(cache: Path) -> bool:
    """Remove the cached images; False (and nothing done) while any lab still runs on them."""
    # The kernel writes lowerdir as it was given to mount; we always give absolute paths.
    if f"lowerdir={cache}{os.sep}" in Path("/proc/mounts").read_text():
        return False
    for entry in cache.glob("*"):
        # Only what a build makes: the user may have named a directory with other things in it.
        if re.fullmatch(r"[a-z]+-[0-9a-f]{12}(\.part)?", entry.name):
            shutil.rmtree(entry)
        elif entry.name in {"build.lock", "build.log"}:
            entry.unlink()
    if cache.is_dir() and not any(cache.iterdir()):
        cache.rmdir()
    return True
