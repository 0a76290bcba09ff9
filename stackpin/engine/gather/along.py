"""Facts that travel with a change: read in its exec, right after it, for what comes next."""

from __future__ import annotations

import base64
import binascii
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyinfra.api.command import MaskString, QuoteString, StringCommand
from pyinfra.connectors.util import CommandOutput

from stackpin.engine.gather import jobs, script
from stackpin.engine.gather.jobs import Job
from stackpin.engine.gather.script import Output, Script

__all__ = ["Trip", "trip"]

ROOM = 100_000  # characters of shell text, quoted; Linux takes 128 KiB as one argument
UNLIMITED = 3600.0
RETRYING = ("_retries", "_retry_delay", "_retry_until")  # pyinfra's own affair, around a command
KNOWN = {*jobs.RIGHTS, *jobs.ALONE, *RETRYING, "_timeout", "_success_exit_codes", "_temp_dir"}


@dataclass(frozen=True)
class Trip:
    """A change and the facts behind it as one `command`; `apart` takes what it brought apart."""

    command: StringCommand
    jobs: tuple[Job, ...]
    script: Script

    def apart(self, output: CommandOutput) -> tuple[CommandOutput, dict[Job, Output]]:
        """Return the change's own output, and those of the facts; none where they did not run."""
        rows = list(output)
        told = [number for number, row in enumerate(rows) if row.buffer_name == "stdout"]
        heading = f"{self.script.marker} "
        if not told or not rows[told[-1]].line.startswith(heading):
            return output, {}
        answer = rows.pop(told.pop()).line.removeprefix(heading)
        # The newline before the heading: an empty line, or the end of one that had none.
        if told and not rows[told[-1]].line:
            rows.pop(told[-1])
        try:
            found = self.script.outputs(base64.b64decode(answer, validate=True))
        except binascii.Error:
            found = {}
        return CommandOutput(rows), {self.jobs[number]: one for number, one in found.items()}


def trip(
    command: StringCommand, arguments: Mapping[str, Any], wanted: Sequence[Job]
) -> Trip | None:
    """Join `command` and the facts `wanted` after it, or None where it has to run alone.

    It runs in a shell of its own, with its own input, as it would alone; what follows does so only
    when it succeeded, and left enough of its `_timeout`. The facts need the same rights.
    """
    own = jobs.job(command, {**arguments, "_stdin": None})
    unknown = any(value for name, value in arguments.items() if name not in KNOWN)
    if not wanted or own is None or unknown or any(one.rights != own.rights for one in wanted):
        return None
    left = int((arguments.get("_timeout") or UNLIMITED) - 2 * script.SECONDS)
    if left <= 0 or own.arguments["_shell_executable"] != "sh":
        return None
    written = script.write(wanted, lambda _rights: "sh")
    body = base64.b64encode(written.body).decode()
    joined = StringCommand(
        # Braces: what pyinfra puts before it (`cd ... &&`) is then before all of it.
        "{ b=$(date +%s); sh -c",
        QuoteString(command),
        "; s=$?; [ $s -eq 0 ] && command -v timeout >/dev/null &&",
        f"[ $(($(date +%s) - b)) -lt {left} ] && {{ printf '\\n{written.marker} '; printf %s",
        MaskString(body),
        f"| base64 -d | {{ {script.COMMAND}; }} 2>/dev/null | base64 -w0; echo; }}; exit $s; }}",
    )
    # Quoted as it will be: a text full of quotes grows fivefold with each shell around it.
    fits = len(shlex.quote(joined.get_raw_value())) <= ROOM
    return Trip(joined, tuple(wanted), written) if fits else None
