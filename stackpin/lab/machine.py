"""One lab host: furnish its disk, start it, wait until it serves, end it."""

import contextlib
import io
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stackpin.errors import StackpinError
from stackpin.lab import keeper
from stackpin.lab.commands import run
from stackpin.lab.disks import mount_disk, remove_tree
from stackpin.lab.docker import data_flags, make_data
from stackpin.lab.image import DEPLOY_UID, write_apt
from stackpin.lab.network import is_cut, remove_port, set_port, uplink_mtu
from stackpin.lab.paths import MachineNames
from stackpin.lab.processes import HostGroup, start_time
from stackpin.lab.sources import Mirrors
from stackpin.lab.state import HostState, LabState

__all__ = ["Machine"]

READY_SECONDS = 90.0
REBOOT_SECONDS = 30.0
# Said by every nspawn that ends where /run is no tmpfs, whatever it ends for.
NOISE = "Attempted to remove disk file system"
NETWORK = """\
[Match]
Name=host0
[Link]
MTUBytes={mtu}
[Network]
Address={address}/{prefix}
Gateway={gateway}
DHCP=no
IPv6AcceptRA=no
"""


@dataclass(frozen=True)
class Machine:
    """A host of a lab as the machine sees it: its state, its names, its disk."""

    host: HostState
    names: MachineNames
    lab: LabState
    bridge: str

    @property
    def group(self) -> HostGroup:
        """The host's processes."""
        return HostGroup.of(self.names)

    @property
    def running(self) -> bool:
        """True while the keeper we started is alive (its pid was not reused since)."""
        pid = self.host.pid
        return pid is not None and start_time(pid) == self.host.started

    def make_host_key(self) -> str:
        """Give the host's line for known_hosts; makes its key if it has none."""
        self.names.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = self.names.host_key
        if not key.exists():
            run(
                *("ssh-keygen", "-q", "-t", "ed25519", "-N", ""),
                *("-C", self.host.name, "-f", str(key)),
            )
        kind, public, *_comment = key.with_suffix(".pub").read_text().split()
        return f"{self.host.address},{self.host.name} {kind} {public}\n"

    def furnish(self, mirrors: Mirrors, login_key: str) -> None:
        """Mount the disk and, if it is new, write what makes this host this host.

        `login_key` is the public key that root and deploy accept. A disk in use is left as it is.
        """
        mount_disk(self.names, self.host.layers)
        if self.host.docker:
            make_data(self.names)
        root, host, lab = self.names.root, self.host, self.lab
        machine_id = root / "etc/machine-id"
        if machine_id.exists():
            return
        texts = {
            "etc/hostname": f"{host.name}\n",
            "etc/hosts": f"127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {host.name}\n",
            "etc/resolv.conf": _resolv_conf(),
            # Must sort before systemd's own 80-container-host0.network.
            "etc/systemd/network/10-host0.network": NETWORK.format(
                mtu=uplink_mtu(),
                address=host.address,
                prefix=lab.subnet.prefixlen,
                gateway=lab.gateway,
            ),
        }
        for name, text in texts.items():
            path = root / name
            path.unlink(missing_ok=True)
            path.write_text(text)
        target = root / "etc/ssh/ssh_host_ed25519_key"
        shutil.copyfile(self.names.host_key, target)
        target.chmod(0o600)
        shutil.copyfile(self.names.host_key.with_suffix(".pub"), target.with_suffix(".pub"))
        write_apt(root, host.release, mirrors)
        _copy_certificates(root)
        for home, uid in (("root", 0), ("home/deploy", DEPLOY_UID)):
            directory = root / home / ".ssh"
            directory.mkdir(exist_ok=True, mode=0o700)
            (directory / "authorized_keys").write_text(login_key)
            (directory / "authorized_keys").chmod(0o600)
            for path in (directory, directory / "authorized_keys"):
                os.chown(path, uid, uid)
        # Last, because it says that the disk is complete.
        machine_id.write_text(f"{secrets.token_hex(16)}\n")

    def launch(self, record: Callable[[HostState], None]) -> None:
        """Start the host, detached from this terminal.

        `record` gets the state with the new pid, and runs before anything of the host does.
        """
        # Of an earlier run that lost its keeper (a crash): one disk never carries two systems.
        self.group.kill()
        remove_port(self.names.port)
        self.group.create()
        command = [
            *("systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit"),
            f"--directory={self.names.root}",
            f"--machine={self.names.machine}",
            f"--hostname={self.host.name}",
            f"--network-bridge={self.bridge}",
            # A host must be able to run Docker, nftables and sandboxed units like a real one.
            *("--capability=all", "--system-call-filter=@known", "--resolv-conf=off"),
            *("--timezone=off", "--link-journal=no", "--console=pipe"),
            *(data_flags(self.names) if self.host.docker else ()),
        ]
        program = [sys.executable, "-I", "-S", keeper.__file__, str(self.group.path)]
        settings = {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1", "SYSTEMD_SECCOMP": "0"}
        with self.names.console.open("ab") as console:
            process = subprocess.Popen(
                [*program, *command],
                stdin=subprocess.PIPE,
                bufsize=0,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd="/",
                env={**os.environ, **settings},
            )
        with contextlib.closing(process.stdin or io.BytesIO()) as go:
            self.group.adopt(process.pid)
            started = start_time(process.pid)
            record(self.host.model_copy(update={"pid": process.pid, "started": started}))
            go.write(b"\n")

    def wait_port(self, seconds: float = READY_SECONDS) -> None:
        """Wait until sshd greets on the host's address; StackpinError with the console if not."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not self.running:
                raise StackpinError(f"{self.host.name} stopped while starting:\n{self._console()}")
            if _greets(self.host.address):
                return
            time.sleep(0.1)
        raise StackpinError(
            f"{self.host.name} ({self.host.address}) has no ssh after {seconds:g} s:\n"
            f"{self._console()}"
        )

    def _console(self) -> str:
        try:
            lines = self.names.console.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            lines = []
        told = [line for line in lines if NOISE not in line]
        return "\n".join([*told[-8:], f"All of it: {self.names.console}"])

    def kill(self) -> None:
        """Pull the plug: every process of the host is gone when this returns."""
        self.group.kill()

    def reboot(self) -> None:
        """Reboot properly; after REBOOT_SECONDS without an end the power is cut."""
        before = self.group.init_pid()
        if not self.running or before is None:
            return
        # A container's init takes it for Ctrl-Alt-Del: services stop in order, nspawn restarts.
        os.kill(before, signal.SIGINT)
        end = time.monotonic() + REBOOT_SECONDS
        while time.monotonic() < end:
            if self.group.init_pid() not in {before, None}:
                return
            time.sleep(0.05)
        self.kill()

    def clear(self) -> None:
        """End the host and remove its disk, but keep its address and host key."""
        self.kill()
        remove_tree(self.names.root)
        remove_tree(self.names.disk)
        remove_tree(self.names.docker)

    def remove(self) -> None:
        """End the host and remove everything of it."""
        self.kill()
        remove_tree(self.names.home)
        # Left behind by a killed nspawn where /run is no tmpfs.
        remove_tree(Path("/run/systemd/nspawn/propagate", self.names.machine))

    def set_port(self, *, up: bool) -> None:
        """Plug the network in or pull it; StackpinError while the host is not running."""
        if not self.running:
            raise StackpinError(
                f"{self.host.name} is not running: `stackpin lab start {self.host.name}`"
            )
        set_port(self.names.port, up=up)

    @property
    def cut(self) -> bool:
        """True while its network is pulled."""
        return is_cut(self.names.port)


def _greets(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), timeout=1) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _resolv_conf() -> str:
    # A stub resolver on 127.0.0.53 is out of a host's reach; systemd keeps the real servers here.
    real = Path("/run/systemd/resolve/resolv.conf")
    path = real if real.exists() else Path("/etc/resolv.conf")
    return path.read_text() if path.exists() else ""


def _copy_certificates(root: Path) -> None:
    """Let the host trust the certificate authorities added to this machine (a proxy's, say)."""
    bundle = root / "etc/ssl/certs/ca-certificates.crt"
    for certificate in sorted(Path("/usr/local/share/ca-certificates").glob("**/*.crt")):
        text = certificate.read_text().strip()
        copy = root / "usr/local/share/ca-certificates" / certificate.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(f"{text}\n")
        # What update-ca-certificates would do on the host, without the seconds it takes.
        if text not in bundle.read_text():
            with bundle.open("a") as file:
                file.write(f"{text}\n")
