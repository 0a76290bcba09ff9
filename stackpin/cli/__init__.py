"""The `stackpin` command: a group that imports a command's module only when it is used."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

import click

__all__ = ["COMMANDS", "main"]


@dataclass(frozen=True)
class Entry:
    """Where a command lives: `module`, its `attribute` there, and the line --help shows."""

    module: str
    attribute: str
    help: str


def _entry(name: str, text: str, *, module: str = "") -> Entry:
    return Entry(f"stackpin.cli.{module or name}", name, text)


# One line per command, so that `stackpin --help` needs none of their imports.
COMMANDS: dict[str, Entry] = {
    "check": _entry("check", "Validate an inventory and its variables; no host is asked."),
    "configure": _entry("configure", "List variables, and change them in group data."),
    "preflight": _entry("preflight", "Ask the hosts whether a deploy could work."),
    "plan": _entry("plan", "Show what a deploy would change, per host, with diffs."),
    "deploy": _entry("deploy", "Bring hosts to the declared state through the health gate."),
    "update": _entry("update", "Bump the version pin and roll it out."),
    "upgrade": _entry("upgrade", "Roll out the newest version: update --latest."),
    "pin": _entry("pin", "Write a version and its digests to review; no host is touched."),
    "rollback": _entry("rollback", "Return to the recorded last good release, or --to one."),
    "verify": _entry("verify", "Run the health gate alone."),
    "doctor": _entry("doctor", "Explain what is wrong, worst first; a bundle for support."),
    "drift": _entry("drift", "Report where hosts differ from the declaration (exit 2)."),
    "status": _entry("status", "Show what each host runs."),
    "versions": _entry("versions", "Show pinned, locked, running and newest versions."),
    "history": _entry("history", "Show what happened on each host, from its journal."),
    "logs": _entry("logs", "Show the service's log lines."),
    "start": _entry("start", "Start the live slot.", module="service"),
    "stop": _entry("stop", "Stop the service.", module="service"),
    "restart": _entry("restart", "Restart the service without a failed request.", module="service"),
    "backup": _entry("backup", "Take, list and verify backups."),
    "restore": _entry("restore", "Put a backup back, in maintenance mode."),
    "artifact": _entry("artifact", "Build or fetch what a release ships; the cache of it."),
    "lock": _entry("lock", "Show or steal the deploy lock."),
    "tunnel": _entry("tunnel", "Forward a local port to the service over SSH."),
    "maintenance": _entry("maintenance", "Switch the maintenance page on or off."),
    "prune": _entry("prune", "Remove old releases."),
    "uninstall": _entry("uninstall", "Remove a stack from its hosts."),
    "evidence": _entry("evidence", "Show and verify the record of a deployment."),
    "dashboard": _entry("dashboard", "Write a page about every stack and host of an inventory."),
    "notify": _entry("notify", "Show who is told of runs and drift, and send a test message."),
    "workers": _entry("workers", "The nodes of the XingRin fleet: list, add, remove, watch."),
    "completion": _entry("completion", "Print shell completion."),
    "lab": _entry("lab", "Real hosts on this machine, for trials and tests."),
}

# Wrong usage touches nothing: "refused". click's own 2 would read as drift in a pipeline.
click.UsageError.exit_code = 3


class LazyGroup(click.Group):
    """A click group whose commands are imported on use, from the table above."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Return the command names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command called `cmd_name`, or None."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command = getattr(importlib.import_module(entry.module), entry.attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.module}.{entry.attribute} is not a command")
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command list of --help without importing the commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


def _print_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import version  # noqa: PLC0415 - 20 ms only when asked

        click.echo(f"stackpin {version('stackpin')}")
        ctx.exit()


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version.",
)
def main() -> None:
    """Deploy small server fleets over SSH, and keep them healthy, pinned and as declared."""
