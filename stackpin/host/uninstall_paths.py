"""Which paths an uninstall may remove at all, and how to go around what stays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stackpin.host.stack import host_root

__all__ = ["around", "in_volume", "removable"]

# A setting that names one of these is a mistake; the whole host must not pay for it.
_NEVER = frozenset(
    "bin boot dev etc home lib lib64 media mnt opt proc root run sbin srv sys tmp usr var "  # noqa: SIM905
    "etc/nginx etc/ssh etc/ssl etc/stackpin etc/systemd etc/systemd/system run/systemd "
    "usr/bin usr/lib usr/local usr/local/bin usr/local/lib usr/sbin usr/share "
    "var/backups var/backups/stackpin var/cache var/lib var/lib/dpkg var/lib/stackpin var/log "
    "var/www".split()
)


def removable(path: Path) -> bool:
    """Tell whether `path` is a place of ours and not one the system or others live in."""
    try:
        inner = path.relative_to(host_root())
    except ValueError:
        return False
    parts = inner.parts
    if len(parts) < 2 or ".." in parts or str(inner) in _NEVER:
        return False
    if parts[0] == "home" and len(parts) < 3:  # /home/somebody
        return False
    return not in_volume(path)


def in_volume(path: Path) -> bool:
    """Tell whether a path is docker's to remove: a volume, with data in it."""
    return path.is_relative_to(host_root() / "var/lib/docker")


def around(path: Path, kept: Sequence[Path]) -> list[Path]:
    """Return what to remove so that `path` is gone but for `kept`: itself, or its entries."""
    if path in kept or any(keep in path.parents for keep in kept):
        return []
    inside = [keep for keep in kept if path in keep.parents]
    if not inside:
        return [path]
    return [part for entry in sorted(path.iterdir()) for part in around(entry, inside)]
