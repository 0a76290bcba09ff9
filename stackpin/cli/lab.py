"""`stackpin lab …`: real Debian hosts on this machine, for trials and tests."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import click
from rich.console import Console

from stackpin.cli.options import reporting
from stackpin.cli.output import Output
from stackpin.lab import Lab
from stackpin.lab.delay import delay as lab_delay
from stackpin.lab.requirements import check_root
from stackpin.lab.ssh import ssh_command
from stackpin.lab.state import fleet_names
from stackpin.lab.status import lab_status

__all__ = ["lab"]


def _example(*lines: str) -> str:
    """Format the end of a help text; click keeps lines after a backspace as they are."""
    return "\n".join(["\b", "Example:", *(f"  {line}" for line in lines)])


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_example(
        "stackpin lab up 2", "stackpin lab ssh lab1 -- systemctl status nginx", "stackpin lab down"
    ),
)
def lab() -> None:
    """Real hosts on this machine, for trials and tests.

    Each is a Debian of its own: systemd, sshd, nginx, an address and a disk. Needs root on Linux.
    STACKPIN_LAB_DIR (default /var/lib/stackpin-lab) names the lab.
    """


@lab.command(epilog=_example("stackpin lab up 3"))
@click.argument("count", type=click.IntRange(1, 244), default=1)
@click.option("--name", default="lab", show_default=True, metavar="PREFIX", help="Host name start.")
@click.option("--docker", is_flag=True, help="Hosts with Docker; only those count then.")
@click.option(
    "--fleet", type=click.IntRange(1, 242), metavar="N", help="Hosts registry, server, node1-N."
)
@click.option("--release", metavar="NAME", help="Debian of new hosts; only those count then.")
@click.option("--mirror", metavar="URL", help="Debian archive, instead of this machine's own.")
@click.option("--install", is_flag=True, help="Install missing packages with apt-get first.")
@reporting
def up(
    out: Output,
    *,
    count: int,
    name: str,
    docker: bool,
    fleet: int | None,
    release: str | None,
    mirror: str | None,
    install: bool,
) -> None:
    """Have COUNT hosts running (default 1); those there are stay as they are.

    The first time builds the base image, about a minute; a host then takes seconds.
    """
    with _progress() as one:
        names = fleet_names(fleet) if fleet else []
        hosts = one.up(
            count,
            name=name,
            names=names,
            docker=docker or bool(names),
            release=release,
            mirror=mirror,
            install=install,
        )
    state = one.state()
    out.document(
        {
            "hosts": [asdict(host) for host in hosts],
            "bridge": one.paths.bridge,
            "subnet": str(state.subnet),
            "ssh_key": str(one.ssh_key),
            "known_hosts": str(one.known_hosts),
        }
    )
    for host in hosts:
        out.line(f"{host.name} {host.address} is up")
    inventory = "fleet" if fleet else "lab"
    out.line(f"Log in: stackpin lab ssh {hosts[0].name}. Inventory: inventories/{inventory}")


@lab.command(epilog=_example("stackpin lab registry --push all", "stackpin lab registry"))
@click.option(
    "--push",
    multiple=True,
    metavar="WHICH",
    help="Push `all`, a product (`xingrin`, `infracore`), or a version (`v1.1.0` of XingRin, "
    "`infracore:v1.1.0`).",
)
@reporting
def registry(out: Output, push: tuple[str, ...]) -> None:
    """Have a private registry running on the lab's host `registry`.

    TLS by the lab's own authority, a login, and with --push the lab's images of XingRin and
    InfraCore: built here without Docker the first time, then cached.
    """
    with _progress() as one:
        there = one.registry
        there.start()
        pushed = there.push(push) if push else {}
    password = "python -m stackpin.lab.secret registry-password"  # noqa: S105 - a command
    out.document(
        {
            "address": there.address,
            "ca": str(there.ca),
            "username": there.username,
            "password_command": password,
            "images": pushed,
        }
    )
    for reference, digest in sorted(pushed.items()):
        out.line(f"{reference} {digest}")
    out.line(f"{there.address} is up. User: {there.username}. Password: {password}")
    out.line(f"Authority: {there.ca}")


@lab.command(epilog=_example("stackpin lab down lab2", "stackpin lab down"))
@click.argument("hosts", nargs=-1, metavar="[HOST]...")
@click.option("--purge-cache", is_flag=True, help="Remove the cached base image as well.")
@reporting
def down(out: Output, hosts: tuple[str, ...], purge_cache: bool) -> None:
    """Remove the hosts named, or the whole lab with everything it started."""
    with _progress() as one:
        one.down(hosts, purge=purge_cache)
    out.document({"removed": list(hosts) or "all"})
    out.line(f"removed: {', '.join(hosts) or 'the whole lab'}")


@lab.command(name="list", epilog=_example("stackpin lab list --json"))
@reporting
def list_(out: Output) -> None:
    """List the hosts and their addresses; nothing is asked of them."""
    hosts = Lab.load().hosts
    out.document({"hosts": [asdict(host) for host in hosts]})
    if hosts:
        out.table(["host", "address"], [[host.name, host.address] for host in hosts])
    else:
        out.line("no lab is running: start one with `stackpin lab up`")


@lab.command(epilog=_example("stackpin lab status"))
@reporting
def status(out: Output) -> None:
    """Show per host whether it is up, cut off, reachable, and what its systemd says.

    LOAD is the machine's: all hosts share its kernel.
    """
    rows = lab_status(Lab.load())
    out.document({"hosts": [asdict(row) for row in rows]})
    cells = [
        [
            *(row.name, row.address, _yes(row.up), _yes(row.cut), _yes(row.ssh)),
            *(row.system or "-", "-" if row.load is None else f"{row.load:.2f}"),
        ]
        for row in rows
    ]
    out.table(["host", "address", "up", "cut", "ssh", "systemd", "load"], cells)


@lab.command(
    context_settings={"ignore_unknown_options": True},
    epilog=_example("stackpin lab ssh lab1", "stackpin lab ssh lab1 -- journalctl -u nginx -n 20"),
)
@click.argument("host")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--user", default="root", show_default=True, help="root, or deploy (with sudo).")
@reporting
def ssh(out: Output, host: str, command: tuple[str, ...], user: str) -> None:
    """Log in to HOST, or run a command on it and exit with its exit code."""
    del out  # ssh takes this terminal over
    check_root()
    one = Lab.load()
    argv = ssh_command(one.paths, one.host(host), user=user)
    sys.stdout.flush()
    os.execvp(argv[0], [*argv, *command])  # noqa: S606 - the terminal is ssh's from here


def _verb(name: str, done: str, text: str) -> None:
    """Add `stackpin lab NAME HOST`, which calls the method of that name."""

    @click.argument("host")
    @reporting
    def command(out: Output, host: str) -> None:
        with _progress() as one:
            getattr(one, name)(host)
        out.document({"host": host, "done": name})
        out.line(f"{host} {done}")

    lab.command(name=name, help=text, epilog=_example(f"stackpin lab {name} lab1"))(command)


_verb("cut", "is cut off", "Pull HOST's network; it keeps running but nobody reaches it.")
_verb("heal", "is plugged in", "Plug HOST's network in again after `cut`.")
_verb("reboot", "has rebooted", "Reboot HOST properly and wait until it serves. Its disk stays.")
_verb("kill", "is off", "Cut HOST's power: all its processes end at once. Its disk stays.")
_verb("start", "is up", "Start HOST after `kill`, with the disk it had.")
_verb("reset", "is as new", "Give HOST a fresh disk; its address and host key stay.")


@lab.command(epilog=_example("stackpin lab delay 40", "stackpin lab delay 0"))
@click.argument("milliseconds", type=click.FloatRange(0, 10_000), metavar="MS")
@click.argument("hosts", nargs=-1, metavar="[HOST]...")
@reporting
def delay(out: Output, *, milliseconds: float, hosts: tuple[str, ...]) -> None:
    """Let a round trip to the hosts named, or to all, take MS milliseconds longer.

    It replaces any delay there was; 0 ends it. A host that restarts is near again.
    """
    with _progress() as one:
        lab_delay(one, milliseconds, hosts)
    where = ", ".join(hosts) or "every host"
    out.document({"milliseconds": milliseconds, "hosts": list(hosts) or "all"})
    out.line(f"{where}: a round trip takes {milliseconds:g} ms longer" if milliseconds else "near")


@contextmanager
def _progress() -> Iterator[Lab]:
    """Give the lab, with what it does right now shown on stderr."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Lab.load()
        return
    with console.status("…") as shown:
        yield Lab.load(lambda line: shown.update(line.replace("[", r"\[")))


def _yes(value: bool) -> str:
    return "yes" if value else "no"


if __name__ == "__main__":
    lab()
