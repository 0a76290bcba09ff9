"""pyinfra connectors that answer facts from memory.

pyinfra has no cache of facts: each is a command, asked again for every operation. What is put in
between is its connector, whose methods are its documented interface; parsing, defaults and errors
stay pyinfra's own.
"""

# ruff: noqa: ANN401 - what pyinfra passes on is passed on as it comes
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from gevent.local import local
from pyinfra import logger
from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.util import get_file_io
from pyinfra.connectors.base import BaseConnector
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.util import CommandOutput, OutputLine, make_unix_command_for_host

from operations.sending import FileThenText
from stackpin.engine.channel import converse
from stackpin.engine.gather import along, fact_list, jobs
from stackpin.engine.gather.memory import Memory
from stackpin.engine.gather.script import Output

__all__ = ["remembering"]

Result = tuple[bool, CommandOutput]
NOT_RIGHTS = ("_get_pty", "_timeout", "_stdin", "_success_exit_codes")


class _InFact(local):  # type: ignore[misc] # gevent has no types
    """Whether this greenlet is reading a fact, and with which rights pyinfra runs it."""

    depth = 0
    rights: Mapping[str, Any] | None = None


_in_fact = _InFact()


def remembering(connector: type[BaseConnector], memory: Memory) -> type[BaseConnector]:
    """Return `connector` with the facts of its host read from `memory` where they are known."""
    return type(f"Remembering{connector.__name__}", (_Remembering, connector), {"memory": memory})


class _Remembering(SSHConnector):
    """Before the real connector in a class made by `remembering`."""

    memory: Memory
    takes_files = True  # as the standard input of a command: see operations.sending

    def __init__(self, state: Any, host: Host) -> None:
        super().__init__(state, host)
        self._busy = False
        read = type(host).get_fact

        def get_fact(cls: Any, *args: Any, **kwargs: Any) -> Any:
            before = _in_fact.depth, _in_fact.rights
            _in_fact.depth, _in_fact.rights = before[0] + 1, None
            try:
                value = read(host, cls, *args, **kwargs)
                if _in_fact.rights is not None:
                    fact_list.note(self.memory, cls, args, kwargs, _in_fact.rights)
            finally:
                _in_fact.depth, _in_fact.rights = before
            return value

        # Shadows the method on this instance: only so is a fact's command told from a change.
        host.get_fact = get_fact  # type: ignore[assignment]

    def run_shell_command(
        self, command: Any, print_output: bool = False, print_input: bool = False, **arguments: Any
    ) -> Result:
        """Answer a fact's command from memory; run anything else, and forget.

        With a file as its `_stdin`, a command has no time limit, as uploads have none.
        """
        if self._busy:  # what pyinfra does below a command of its own: a password's helper file
            return super().run_shell_command(command, print_output, print_input, **arguments)
        if _in_fact.depth:
            return self._fact(command, arguments)
        given = arguments.get("_stdin")
        if isinstance(given, FileThenText):
            return self._feed(command, given.source, arguments, given.text.encode())
        return self._change(command, arguments, print_output, print_input)

    def put_file(
        self,
        filename_or_io: Any,
        remote_filename: str,
        remote_temp_filename: Any = None,  # noqa: ARG002 - nothing lies elsewhere in between
        print_output: bool = False,  # noqa: ARG002
        print_input: bool = False,  # noqa: ARG002
        **arguments: Any,
    ) -> bool:
        """Upload through the standard input of one command.

        SFTP takes seven round trips before the first byte, and with sudo three commands more.
        """
        text = StringCommand("cat >", QuoteString(remote_filename))
        status, output = self._feed(text, filename_or_io, arguments)
        if not status:
            logger.error(f"{self.host.print_prefix}upload to {remote_filename}: {output.stderr}")
        return status

    def rsync(self, *args: Any, **kwargs: Any) -> bool:
        """Synchronise files, and forget what is known of the host."""
        with self.memory.changing():
            return bool(super().rsync(*args, **kwargs))

    def _change(self, command: Any, arguments: dict[str, Any], *shown: bool) -> Result:
        """Run a command, with the facts of the operations to come behind it where they fit."""
        memory = self.memory
        trip = None if any(shown) else along.trip(command, arguments, memory.ahead)
        with memory.changing():
            generation = memory.generation
            status, output = self._run(trip.command if trip else command, arguments, *shown)
        if trip is not None:
            output, found = trip.apart(output)
            # One further: this change's own end. Facts read beside another change are not kept.
            memory.keep(generation + 1, found)
        return status, output

    def _feed(
        self, text: StringCommand, source: Any, arguments: Mapping[str, Any], rest: bytes = b""
    ) -> Result:
        """Run a command whose standard input is a file's content, and `rest` behind it.

        `source` is a path, or an open file.
        """
        rights = {name: value for name, value in arguments.items() if name not in NOT_RIGHTS}
        command = make_unix_command_for_host(self.state, self.host, text, **rights)
        transport = self.client.get_transport() if self.client else None
        assert transport is not None  # noqa: S101 - a host is connected before it is changed
        file: IO[bytes]
        given = str(source) if isinstance(source, Path) else source
        with self.memory.changing(), get_file_io(given, mode="rb") as file:
            channel = transport.open_session()
            try:
                ran = converse(channel, command.get_raw_value(), file, rest=rest)
            except EOFError as error:
                raise OSError(str(error)) from error  # what pyinfra expects of a broken connection
            finally:
                channel.close()
        out, err = (
            tuple(text.splitlines()) for text in (ran.stdout.decode(errors="replace"), ran.stderr)
        )
        return ran.status == 0, _combined(Output(ran.status, out, err))

    def _fact(self, command: Any, arguments: dict[str, Any]) -> Result:
        memory, job = self.memory, jobs.job(command, arguments)
        known = memory.output(job) if job is not None else None
        if job is not None:
            self._note(command, job)
        if known is not None:
            return known.status == 0, _combined(known)
        if memory.offline:
            # "No output": the fact then has its default, and this load of files is thrown away.
            memory.want(job)
            return True, CommandOutput([])
        generation = memory.generation
        status, output = self._run(command, arguments)
        if status and job is not None:
            told = Output(0, tuple(output.stdout_lines), tuple(output.stderr_lines))
            memory.keep(generation, {job: told})
        return status, output

    def _note(self, command: Any, job: jobs.Job) -> None:
        if jobs.secret(command):
            return  # neither written down, nor sent behind a change: processes' arguments are seen
        _in_fact.rights = job.arguments
        if operation := self.host.current_op_hash:
            self.memory.of_operation.setdefault(operation, {})[job] = None

    def _run(self, command: Any, arguments: dict[str, Any], *shown: bool) -> Result:
        self._busy = True
        try:
            return super().run_shell_command(command, *shown, **arguments)
        finally:
            self._busy = False


def _combined(output: Output) -> CommandOutput:
    return CommandOutput(
        [OutputLine("stdout", line) for line in output.stdout]
        + [OutputLine("stderr", line) for line in output.stderr]
    )
