"""Kernel settings a lab needs: changed for the first lab, put back after the last one."""

from pathlib import Path

from filelock import FileLock

from stackpin.lab.paths import RUN_DIR

__all__ = ["release", "want"]

SETTINGS = {
    # Hosts reach package archives through this machine.
    "net/ipv4/ip_forward": 1,
    # Every systemd and every dockerd holds several; Linux allows 128, enough for 17 hosts.
    "fs/inotify/max_user_instances": 4096,
}
"""Path below /proc/sys -> least value."""

SYSCTL = Path("/proc/sys")
NOTES = RUN_DIR / "kernel"


def want(lab_id: str, sysctl: Path = SYSCTL, notes: Path = NOTES) -> None:
    """Raise each setting to its least value, noting what it was and which lab needs it."""
    with _lock(notes):
        notes.mkdir(exist_ok=True)
        (notes / f"lab-{lab_id}").touch()
        for name, least in SETTINGS.items():
            setting, before = sysctl / name, notes / name.replace("/", ".")
            value = setting.read_text()
            if int(value) >= least:
                continue
            if not before.exists():
                before.write_text(value)
            setting.write_text(f"{least}\n")


def release(lab_id: str, sysctl: Path = SYSCTL, notes: Path = NOTES) -> None:
    """Put back what was noted when the last lab goes; fine when nothing was."""
    with _lock(notes):
        (notes / f"lab-{lab_id}").unlink(missing_ok=True)
        if not notes.is_dir() or any(notes.glob("lab-*")):
            return
        for name in SETTINGS:
            before = notes / name.replace("/", ".")
            if before.exists():
                (sysctl / name).write_text(before.read_text())
                before.unlink()
        notes.rmdir()


def _lock(notes: Path) -> FileLock:
    notes.parent.mkdir(exist_ok=True, mode=0o700)
    return FileLock(notes.with_suffix(".lock"))
