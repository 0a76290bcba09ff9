"""`stackpin drift`: where hosts differ from the declaration."""

# ruff: noqa: D301, PLC0415 -- click wants a real \b; imports on use keep --help fast

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stackpin.cli.default_group import default_group
from stackpin.cli.options import Body, Target, reporting, target
from stackpin.cli.output import Output
from stackpin.cli.waiting import hosts_shown
from stackpin.errors import Refused, StackpinError

if TYPE_CHECKING:
    from stackpin.drift.report import DriftReport, HostDrift

_MOST = 30  # lines of a message


def _reports(body: Body) -> Body:
    """Give a command the options of what a report is written to."""
    for option in (
        click.option("--prometheus", metavar="FILE", help="Also write Prometheus text to FILE."),
        click.option("--junit", metavar="FILE", help="Also write a JUnit XML report to FILE."),
    ):
        body = option(body)
    return body


@default_group("show")
def drift() -> None:
    """Report where hosts differ from the declaration; nothing is changed.

    A check of many hosts can be split over jobs, and the reports of the jobs merged.

    \b
    Examples:
      stackpin drift inventories/prod crm
      stackpin drift inventories/prod crm --shard 1/2 --json >drift-1.json
      stackpin drift merge drift-1.json drift-2.json
    """


@drift.command()
@click.option("--shard", metavar="I/N", help="Only the I-th of N shares of the hosts.")
@_reports
@target
def show(out: Output, target: Target, shard: str | None, **files: str | None) -> int:
    """Ask the hosts; the word may be left out.

    Two questions per host: which operations would change something (with their diffs), and what
    the host itself finds odd: a running program that is not the installed release, manual unit
    overrides, stray listeners, slot and journal in disagreement.

    Exit status: 0 in sync, 2 drift, 1 when a host could not be checked, whatever the others say.

    \b
    Examples:
      stackpin drift show inventories/prod crm
      stackpin drift inventories/prod site --junit drift.xml
      stackpin drift inventories/prod crm --prometheus /var/lib/node_exporter/stackpin.prom
    """
    from stackpin.care.check import check_drift
    from stackpin.care.shards import check_shard
    from stackpin.drift.shards import Shard

    out.command = "drift"  # with or without `show`
    asked = (target.inventory, target.stack, target.limit, target.data)
    part = None if shard is None else Shard.parse(shard)
    with hosts_shown(as_json=out.as_json):
        report = check_drift(*asked) if part is None else check_shard(*asked, part)
    report = replace(report, stackpin=version("stackpin"))
    _publish(out, report, f"stackpin deploy {target.inventory} {target.stack}", **files)
    _tell(out, target, report)
    return report.exit_code


@drift.command()
@click.argument(
    "files", type=click.Path(path_type=Path), metavar="FILE...", nargs=-1, required=True
)
@click.option("--partial", is_flag=True, help="Accept missing shards; exit 1: not checked.")
@_reports
@reporting
def merge(out: Output, files: tuple[Path, ...], partial: bool, **written: str | None) -> int:
    """Merge the reports of all shards into one.

    Each FILE holds what `drift --shard I/N --json` printed in one job.

    They must be the shards of one check, each once. No host is asked, and nobody is notified.
    The exit status is that of a check of all hosts.

    \b
    Examples:
      stackpin drift merge drift-1.json drift-2.json drift-3.json --junit drift.xml
      stackpin drift merge --partial drift-*.json
    """
    from stackpin.drift.merging import NoReport, merged, parsed

    reports: dict[str, DriftReport] = {}
    for file in files:
        try:
            reports[str(file)] = parsed(str(file), file.read_text(encoding="utf-8"))
        except OSError as error:
            raise Refused(f"{file}: {error.strerror}") from error
        except NoReport as error:
            if not partial:
                raise
            out.note(f"stackpin: {error}")
    if not reports:
        raise Refused("no report to merge: no job wrote one")
    report = merged(reports, partial=partial)
    _publish(out, report, "stackpin deploy", **written)
    return report.exit_code


def _publish(
    out: Output, report: DriftReport, remedy: str, *, junit: str | None, prometheus: str | None
) -> None:
    """Print the report, and write it to the files asked for."""
    from stackpin.drift.junit import junit_xml
    from stackpin.drift.prometheus import prometheus_text

    if junit:
        _write(Path(junit), junit_xml(report))
    if prometheus:
        _write(Path(prometheus), prometheus_text(report))
    out.document(report.as_json())
    for name, host in report.hosts.items():
        _show(out, name, host)
    _conclude(out, remedy, report)


def _tell(out: Output, target: Target, report: DriftReport) -> None:
    """Send word of drift, and of hosts that could not be checked."""
    from stackpin.care.messages import messenger

    drifted = [name for name, host in report.hosts.items() if host.drifted]
    unchecked = [name for name, host in report.hosts.items() if host.error]
    if not drifted and not unchecked:
        return
    teller = messenger(target.inventory, target.data)
    what = f"{target.stack} on {report.inventory}"
    if report.shard:
        what += f" (shard {report.shard})"
    told = [f"drift: {', '.join(drifted)}"] if drifted else []
    told += [f"not checked: {', '.join(unchecked)}"] if unchecked else []
    ops = [f"{name}: {op.name}" for name in drifted for op in report.hosts[name].pending]
    found = [f"{name}: {one.message}" for name in drifted for one in report.hosts[name].findings]
    title = f"drift of {what}" if drifted else f"drift of {what} could not be checked"
    teller.send("drift" if drifted else "failure", title, "\n".join([*told, *ops, *found][:_MOST]))
    for problem in teller.finish():
        out.note(f"stackpin: {problem}")


def _show(out: Output, name: str, host: HostDrift) -> None:
    if out.as_json:
        return
    word = "not checked" if host.error else "drift" if host.drifted else "in sync"
    live = ", ".join(f"{part} {ids.now or 'none'}" for part, ids in host.releases.items())
    out.line(f"{name}: {word}" + (f" (live: {live})" if live else ""))
    if host.error:
        out.line(f"  error: {host.error}")
    for op in host.pending:
        out.line(f"  would change: {op.name}")
        for text in (*op.summary, *op.diff):
            out.line(f"    {text}")
    for name_of_op in host.conditional if host.pending else ():
        out.line(f"  may follow: {name_of_op}")
    for finding in host.findings:
        out.line(f"  finding {finding.code}: {finding.message}")
        if finding.expected or finding.found:
            out.line(f"    expected {finding.expected or '-'}; found {finding.found or '-'}")


def _conclude(out: Output, remedy: str, report: DriftReport) -> None:
    for note in report.notes:
        out.note(f"stackpin: {note}")
    drifted = [name for name, host in report.hosts.items() if host.drifted]
    unchecked = [name for name, host in report.hosts.items() if host.error]
    if unchecked:
        out.note(f"stackpin: not checked: {', '.join(unchecked)}")
    if drifted:
        out.note(
            f"stackpin: drift on {', '.join(drifted)}; `{remedy}` makes the changes listed; what a "
            "host itself found odd may want a look by hand"
        )


def _write(path: Path, text: str) -> None:
    """Replace the file at once: a collector must never read half of it."""
    from stackpin.exposition import replace

    try:
        replace(path, text)
    except OSError as error:
        raise StackpinError(f"{path}: cannot be written: {error.strerror}") from error
