"""Give a lab host a small disk for Docker's data, so that it can run full, and take it back."""

from typing import TYPE_CHECKING

from stackpin.lab.docker import DATA

if TYPE_CHECKING:
    from stackpin.lab.hosts import Lab

__all__ = ["enlarge", "shrink"]

STOP = "systemctl stop docker.socket docker.service"
START = "systemctl start docker.socket docker.service"
MINUTES = 5 * 60.0


def shrink(lab: "Lab", name: str, free: int) -> None:
    """Leave `free` megabytes for Docker on a host; what Docker has there stays.

    Docker restarts, and with it the containers that have a restart policy. The disk is memory:
    after a power cut the data is what it was before `shrink`.
    """
    # Overlays need more room as copied files than `du` says: a tenth for the tmpfs's own pages.
    script = f"""
        set -e
        {STOP}
        used=$(du -sxm {DATA} | cut -f1)
        mkdir -p /mnt/small
        mount -t tmpfs -o mode=0710,size=$((used + used / 10 + {free}))m small /mnt/small
        cp -a {DATA}/. /mnt/small/
        mount --move /mnt/small {DATA} 2>/dev/null || mount --bind /mnt/small {DATA}
        {START}
    """
    lab.run(name, script, timeout=MINUTES)


def enlarge(lab: "Lab", name: str) -> None:
    """Undo `shrink`, keeping what Docker has by now; nothing when there is nothing to undo."""
    script = f"""
        set -e
        test "$(findmnt -nro FSTYPE --target {DATA} | tail -1)" = tmpfs || exit 0
        test -d /mnt/small || exit 0
        {STOP}
        mkdir -p /mnt/kept
        mount --bind {DATA} /mnt/kept
        umount {DATA}
        find {DATA} -mindepth 1 -delete
        cp -a /mnt/kept/. {DATA}/
        umount /mnt/kept
        ! mountpoint -q /mnt/small || umount /mnt/small
        rmdir /mnt/kept /mnt/small
        {START}
    """
    lab.run(name, script, timeout=MINUTES)
