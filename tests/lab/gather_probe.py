"""Run beside a test, in its project: compare what was gathered with the same commands alone.

    python gather_probe.py INVENTORY STACK HOST

Prints {"compared": number of jobs, "different": [...], "hostile": [...], "behind": [...]} as JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from pyinfra.api.command import StringCommand

from stackpin.config.stacks import stack as stack_of
from stackpin.engine.deploys import explore
from stackpin.engine.gather.jobs import Job, job
from stackpin.engine.placing import parts_in
from stackpin.engine.session import Session, open_session

HOSTILE = [
    "printf 'no newline'",
    "exit 7",
    "echo out; echo err >&2; exit 3",
    "echo '0.r 1'; echo stackpin-0000.0 outputs",
    "printf 'a\\n\\nb\\n\\n'",
    "echo 'é ü 漢'",
    "printf 'cr\\r\\n'",
    "seq 1 30000",
    "cat",
    "echo $0 $# $PWD $HOME; umask; id",
    "head -c 300000 /dev/zero | tr '\\0' x",
    "echo a\\\\b '$(id)' `echo c`",
]
RIGHTS: list[dict[str, Any]] = [
    {},
    {"_sudo": True},
    {"_sudo": True, "_sudo_user": "daemon"},
    {"_sudo": True, "_shell_executable": "bash"},
    {"_chdir": "/usr/lib", "_env": {"A": "it's"}},
]


def alone(session: Session, host: str, one: Job) -> tuple[bool, list[str], list[str]] | None:
    """Run a job as stock pyinfra does; None where pyinfra cannot read what comes."""
    connector = session.pyinfra_host(host).connector
    arguments: dict[str, Any] = one.arguments
    try:
        status, output = connector.run_shell_command(StringCommand(one.text), **arguments)
    except UnicodeDecodeError:
        return None
    return status, output.stdout_lines, output.stderr_lines


def differences(session: Session, host: str, jobs: list[Job]) -> list[str]:
    """Return the jobs whose gathered output is not what they bring alone."""
    memory = session.gathering.memories[host]
    gathered = {one: memory.output(one) for one in jobs}
    found = []
    for one, output in gathered.items():
        wanted = alone(session, host, one)
        got = output and (output.status == 0, list(output.stdout), list(output.stderr))
        if _timeless(got) != _timeless(wanted):
            found.append(f"{one}: {str(got)[:300]} but alone {str(wanted)[:300]}")
    return found


def behind(session: Session, host: str, jobs: list[Job]) -> list[str]:
    """Return the jobs that bring something else with a fact behind them, or spoil the fact."""
    memory = session.gathering.memories[host]
    connector = session.pyinfra_host(host).connector
    found = []
    for one in jobs:
        fact = Job("printf 'of %s\\n\\n' \"$(id -un)\"", one.rights)
        wanted = alone(session, host, fact)
        # Only to what reads it: pyinfra breaks off when a command ends before its input is written.
        for given in ({}, {"_stdin": "in\nput"}) if one.text == "cat" else ({},):
            memory.ahead = ()
            told = connector.run_shell_command(StringCommand(one.text), **one.arguments, **given)
            memory.ahead = [fact]
            got = connector.run_shell_command(StringCommand(one.text), **one.arguments, **given)
            output = memory.output(fact)
            memory.ahead = ()
            same = (told[0], told[1].stdout_lines, told[1].stderr_lines) == (
                got[0],
                got[1].stdout_lines,
                got[1].stderr_lines,
            )
            read = output and (output.status == 0, list(output.stdout), list(output.stderr))
            along = told[0] and one.arguments["_shell_executable"] == "sh"
            if not same or read != (wanted if along else None):
                found.append(f"{one}: {got}, fact {output}; but alone {told}, fact {wanted}")
    return found


def _timeless(told: tuple[bool, list[str], list[str]] | None) -> object:
    """Leave out what differs from one second to the next: the machine in the program's state."""
    if not told or not told[1] or not told[1][0].startswith('{"ok": true'):
        return told
    document = json.loads(told[1][0])
    return {key: value for key, value in document.items() if key != "machine"}


def main(inventory: str, name: str, host: str) -> None:
    stack = stack_of(name)
    with open_session(inventory, [host], stack=stack) as session:
        places = {host: list(parts_in(stack, session.groups(host)))}
        files = {part.name: part.deploys for part in stack.components()}
        explore(session, files, {}, places, {})
        jobs = list(session.gathering.memories[host].known())
        different = differences(session, host, jobs)
        hostile = [
            made
            for text in HOSTILE
            for rights in RIGHTS
            if (made := job(text, {"_shell_executable": "sh", **rights}))
        ]
        session.gathering.read(session, host, hostile)
        result = {
            "compared": len(jobs),
            "different": different,
            "hostile": differences(session, host, hostile),
            "behind": behind(session, host, hostile),
        }
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
