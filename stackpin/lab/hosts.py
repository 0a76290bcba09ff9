"""The lab as a whole: bring hosts up, disturb them, take everything away again."""

import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

from stackpin.errors import Refused, StackpinError
from stackpin.lab.commands import Report, run
from stackpin.lab.disks import remove_tree
from stackpin.lab.image import ensure_image, ensure_layer, purge_cache
from stackpin.lab.locking import lab_lock
from stackpin.lab.machine import Machine
from stackpin.lab.network import choose_subnet, network_down, network_up, used_networks
from stackpin.lab.paths import LabPaths
from stackpin.lab.processes import HostGroup, lab_group
from stackpin.lab.requirements import check_machine, check_root
from stackpin.lab.sources import Mirrors, codename, find_mirrors, machine_sources
from stackpin.lab.ssh import LabHost, ssh_run
from stackpin.lab.state import (
    HostState,
    LabState,
    fleet_names,
    plan_hosts,
    read_state,
    write_state,
)

if TYPE_CHECKING:
    from stackpin.lab.registry.lab_registry import LabRegistry

__all__ = ["Lab"]

DEFAULT_RELEASE = "trixie"
STARTS_AT_ONCE = 4


class Lab:
    """All hosts of one lab directory.

    Every method that changes something holds the lab's lock, needs root (Refused otherwise) and
    raises StackpinError when a host does not do what it should.
    """

    def __init__(self, paths: LabPaths, report: Report = lambda _line: None) -> None:
        self.paths = paths
        self.report = report
        self._writing = threading.Lock()

    @classmethod
    def load(cls, report: Report = lambda _line: None) -> "Lab":
        """Take the lab that STACKPIN_LAB_DIR names (default /var/lib/stackpin-lab), up or not."""
        return cls(LabPaths.from_env(), report)

    @property
    def ssh_key(self) -> Path:
        """Private key that root and deploy accept on every host."""
        return self.paths.ssh_key

    @property
    def known_hosts(self) -> Path:
        """The hosts' keys, for strict host key checking."""
        return self.paths.known_hosts

    @property
    def hosts(self) -> list[LabHost]:
        """The lab's hosts, running or not; empty when there is no lab."""
        state = read_state(self.paths.state_file)
        return [LabHost(host.name, host.address) for host in state.hosts] if state else []

    def host(self, name: str) -> LabHost:
        """Find the host of that name; StackpinError naming those there are."""
        return LabHost(name, self.state().host(name).address)

    def state(self) -> LabState:
        """Read what is recorded; StackpinError when there is no lab."""
        state = read_state(self.paths.state_file)
        if state is None:
            raise StackpinError("no lab is running: start one with `stackpin lab up`")
        return state

    def machine(self, state: LabState, host: HostState) -> Machine:
        """Take hold of one host's disk, processes and network port."""
        return Machine(host, self.paths.machine(host.name, host.number), state, self.paths.bridge)

    def run(
        self,
        host: str | LabHost,
        command: str | Sequence[str],
        *,
        user: str = "root",
        check: bool = True,
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on a host over ssh; a list is quoted word by word, `timeout` in seconds.

        Raises StackpinError when time is up and, with `check`, when the command fails.
        """
        target = self.host(host) if isinstance(host, str) else host
        return ssh_run(self.paths, target, command, user=user, check=check, timeout=timeout)

    def up(
        self,
        count: int = 1,
        *,
        name: str = "lab",
        names: Sequence[str] = (),
        docker: bool = False,
        release: str | None = None,
        mirror: str | None = None,
        install: bool = False,
    ) -> list[LabHost]:
        """Have at least `count` hosts running, or those of `names`, and return all there are.

        Stopped hosts are started with their disk; new ones are called `name` and a number. With
        `docker` the new ones have Docker, and only hosts with Docker count; with `release` they run
        that Debian, and only hosts that do count. `mirror` is a Debian archive to use instead of
        this machine's. Refused, before anything is touched, when this machine cannot carry a lab.
        """
        check_machine(self.paths, install=install, report=self.report)
        with self._locked():
            state = self._begin(release)
            mirrors = self._mirrors(mirror)
            plan_hosts(state, count, name, names, docker=docker, release=release)
            for host in state.hosts:
                host.layers = self._layers(host, mirrors)
            self.paths.home.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._write(state)
            network_up(self.paths, state.subnet)
            if not self.ssh_key.exists():
                comment = ("-C", "stackpin-lab", "-f", str(self.ssh_key))
                run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", *comment)
            self._write_known_hosts(state)
            asleep = [host for host in state.hosts if not self.machine(state, host).running]
            with ThreadPoolExecutor(STARTS_AT_ONCE) as pool:
                list(pool.map(lambda host: self._start(state, host, mirrors), asleep))
        return self.hosts

    def fleet(self, nodes: int) -> list[LabHost]:
        """Have hosts with Docker running: `registry`, `server`, `node1` to `node<nodes>`."""
        return self.up(names=fleet_names(nodes), docker=True)

    @property
    def registry(self) -> "LabRegistry":
        """The registry on the lab's host `registry`, started or not."""
        # Here, because it loads what most commands do not need (TLS, HTTP).
        from stackpin.lab.registry.lab_registry import LabRegistry  # noqa: PLC0415

        return LabRegistry(self)

    def down(self, names: Sequence[str] = (), *, purge: bool = False) -> None:
        """Remove these hosts, or the whole lab; with `purge` the cached image as well.

        Finds everything by names that derive from the lab's directory: it also works after a
        crash, without a state file, and when nothing is there.
        """
        check_root()
        with self._locked():
            if names:
                state = self.state()
                for host in [state.host(name) for name in names]:
                    self.report(f"removing {host.name}")
                    self.machine(state, host).remove()
                    state.hosts.remove(host)
                    self._write(state)
                self._write_known_hosts(state)
            if not names or not state.hosts:
                self._remove_all()
            if purge and not purge_cache(self.paths.cache):
                raise StackpinError(f"{self.paths.cache} is still in use by another lab: kept")

    def start(self, name: str) -> LabHost:
        """Start a host that was killed, with the disk it had; nothing when it runs."""
        return self._change(name, lambda _machine: None)

    def reset(self, name: str) -> LabHost:
        """Give the host a fresh disk and boot it; its address and host key stay."""
        return self._change(name, Machine.clear)

    def kill(self, name: str) -> None:
        """Cut the power: every process of the host ends at once, its disk stays."""
        with self._changing(name) as machine:
            machine.kill()

    def cut(self, name: str) -> None:
        """Pull the host's network; it keeps running but nobody reaches it."""
        with self._changing(name) as machine:
            machine.set_port(up=False)

    def heal(self, name: str) -> None:
        """Plug the host's network in again."""
        with self._changing(name) as machine:
            machine.set_port(up=True)

    def reboot(self, name: str) -> LabHost:
        """Reboot the host properly and wait until it serves; power-cycle it if it hangs."""
        return self._change(name, Machine.reboot)

    @contextmanager
    def _changing(self, name: str) -> Iterator[Machine]:
        check_root()
        with self._locked():
            state = self.state()
            yield self.machine(state, state.host(name))

    def _change(self, name: str, work: Callable[[Machine], None]) -> LabHost:
        with self._changing(name) as machine:
            self.report(f"changing {name}")
            work(machine)
            state = machine.lab
            if machine.running:
                self._await(machine)
            else:
                network_up(self.paths, state.subnet)
                self._start(state, machine.host, self._mirrors(None))
        return LabHost(name, machine.host.address)

    def _start(self, state: LabState, host: HostState, mirrors: Mirrors) -> None:
        self.report(f"starting {host.name}")
        machine = self.machine(state, host)
        machine.furnish(mirrors, self.ssh_key.with_suffix(".pub").read_text())

        def record(started: HostState) -> None:
            with self._writing:
                state.hosts = [started if host.name == one.name else one for one in state.hosts]
                self._write(state)

        machine.launch(record)
        self._await(self.machine(state, state.host(host.name)))

    def _await(self, machine: Machine) -> None:
        machine.wait_port()
        target = LabHost(machine.host.name, machine.host.address)
        done = ssh_run(self.paths, target, "systemctl is-system-running --wait", check=False)
        system = done.stdout.strip()
        if system not in {"running", "degraded"}:
            raise StackpinError(f"{target.name}: systemd says {system or done.stderr.strip()!r}")
        self.report(f"{target.name} is {system}")

    def _begin(self, release: str | None) -> LabState:
        state = read_state(self.paths.state_file)
        if state is None:
            home = self.paths.home
            # A secret may have been asked for before there was a lab.
            if home.is_dir() and {entry.name for entry in home.iterdir()} - {"secrets"}:
                raise Refused(f"{home} is not empty and no lab: set STACKPIN_LAB_DIR elsewhere")
            wanted = os.environ.get("STACKPIN_LAB_SUBNET")
            subnet: IPv4Network = choose_subnet(used_networks(), wanted)
            return LabState(subnet=subnet, release=release or DEFAULT_RELEASE)
        return state

    def _layers(self, host: HostState, mirrors: Mirrors) -> list[Path]:
        """List the image directories below a host's disk, lowest first; all but new are cached."""
        where = (mirrors, self.paths.cache, self.report)
        base = ensure_image(host.release, *where)
        if not host.docker:
            return [base]
        return [base, ensure_layer("docker", host.release, base, *where)]

    def _mirrors(self, mirror: str | None) -> Mirrors:
        named = mirror or os.environ.get("STACKPIN_LAB_MIRROR")
        return find_mirrors(machine_sources(), codename(), named)

    def _remove_all(self) -> None:
        self.report("stopping all hosts")
        HostGroup(lab_group(self.paths.lab_id)).kill()
        network_down(self.paths)
        remove_tree(self.paths.hosts)
        remove_tree(self.paths.secrets)
        remove_tree(self.paths.registry)
        for leftover in Path("/run/systemd/nspawn/propagate").glob(f"{self.paths.lab_id}-*"):
            remove_tree(leftover)
        state, key = self.paths.state_file, self.ssh_key
        # By name: the directory may be one the user had before.
        for file in (key, key.with_suffix(".pub"), self.known_hosts, state.with_suffix(".new")):
            file.unlink(missing_ok=True)
        state.unlink(missing_ok=True)
        if self.paths.home.is_dir() and not any(self.paths.home.iterdir()):
            self.paths.home.rmdir()

    def _write(self, state: LabState) -> None:
        write_state(self.paths.state_file, state)

    def _write_known_hosts(self, state: LabState) -> None:
        lines = [self.machine(state, host).make_host_key() for host in state.hosts]
        self.known_hosts.write_text("".join(lines))

    def _locked(self) -> AbstractContextManager[None]:
        return lab_lock(self.paths)
