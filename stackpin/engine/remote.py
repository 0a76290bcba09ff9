"""Programs on a host over one SSH connection: plain ones, and the host program's commands."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import gevent
import paramiko
from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.connectors.util import make_unix_command_for_host

from stackpin.engine import bundle, program
from stackpin.engine.channel import Ran, converse
from stackpin.engine.gather import jobs, script, shared
from stackpin.engine.gather.jobs import Job
from stackpin.engine.gather.memory import Call, Memory
from stackpin.engine.remote_errors import (
    RemoteBroken,
    RemoteError,
    RemoteGate,
    RemoteLost,
    RemoteRefused,
    judge,
)
from stackpin.host.questions import READING

__all__ = [
    "Ran",
    "Remote",
    "RemoteBroken",
    "RemoteError",
    "RemoteGate",
    "RemoteLost",
    "RemoteRefused",
]

AUTH_KEYS = (
    "_sudo",
    "_sudo_user",
    "_use_sudo_login",
    "_sudo_password",
    "_su_user",
    "_su_password",
    "_su_shell",
    "_doas",
    "_doas_user",
    "_dzdo",
    "_dzdo_user",
)
UPLOAD_TIMEOUT = 60.0
GATHER_TIMEOUT = 180.0
FACT_TIMEOUT = 120.0
HARMLESS = READING | {"lock-renew", "nginx-test"}  # what leaves the facts of a host as they are

T = TypeVar("T")


class Remote:
    """One SSH connection to one host.

    `connector` is a connected pyinfra SSH connector; commands run with the rights that the
    inventory gives (`_sudo` and its relatives in host data). `leases` maps a stack to the token
    of the lease held on this host: calls for that stack carry it. What `memory` knows answers
    questions; anything that may change the host makes it forget.
    """

    def __init__(
        self,
        state: State,
        host: Host,
        connector: Any,  # noqa: ANN401 - pyinfra types it by protocol only
        leases: Mapping[str, str],
        memory: Memory,
    ) -> None:
        self.name: str = host.name
        self._state = state
        self._host = host
        self._connector = connector
        self._leases = leases
        self.memory = memory
        data = host.data
        self._auth = {key: data.get(key) for key in AUTH_KEYS if data.get(key) is not None}

    @property
    def transport(self) -> paramiko.Transport:
        """The connection itself, for port forwarding and channels of one's own."""
        transport = self._connector.client.get_transport()
        if transport is None or not transport.is_active():
            raise RemoteLost(self.name, "the SSH connection is gone")
        return transport  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close the TCP connection; pyinfra's own disconnect leaves it open."""
        self._connector.client.close()

    def run(
        self,
        argv: Sequence[str] | str,
        stdin: bytes = b"",
        *,
        timeout: float = 60.0,
        on_line: Callable[[str], None] | None = None,
        on_stdout: Callable[[bytes], None] | None = None,
    ) -> Ran:
        """Run a program with the inventory's rights and wait for it.

        `argv` is a list, or shell text; `timeout` in seconds, after which RemoteLost is raised.
        `on_line` gets each line of stderr as it comes, `on_stdout` each block of stdout (which
        then is not collected).
        """
        text = argv if isinstance(argv, str) else shlex.join(argv)
        with self.memory.changing():
            return self._run(text, stdin, timeout, on_line, on_stdout)

    def gather(
        self, wanted: Sequence[Job], calls: Sequence[Call] = (), *, placed: bool = False
    ) -> None:
        """Put facts' commands and questions to the host in one exec, and remember what came.

        What did not come, or not whole, is not remembered: asked alone, it says why. Raises
        RemoteLost without any answer. A host without the program gets it, unless it was just
        `placed` there, and is asked once more what only the program tells.
        """
        mine = self._job("")
        calls = calls if mine is not None else ()
        twice = shared.told_by(wanted, calls, mine)
        wanted = [job for job in wanted if job not in twice]
        asked: list[Job | script.Question] = list(wanted)
        if calls and mine is not None:
            start = program.start(bundle.host_program()[1], "many", calls[0][1])
            asked.append(script.Question(start, program.asked(calls), mine.rights))
        if not asked:
            return
        written = script.write(asked, self._prefix)
        generation = self.memory.generation
        ran = self._execute(script.COMMAND, written.body, GATHER_TIMEOUT)
        outputs = written.outputs(ran.stdout)
        found = {job: outputs[number] for number, job in enumerate(wanted) if number in outputs}
        answer = outputs.get(len(wanted))
        told = program.answers(answer, calls)
        found |= shared.outputs(twice, told)
        self.memory.keep(generation, found, zip(calls, told["answers"], strict=False))
        left = [job for job in twice if job not in found]
        if answer is not None and answer.status == program.MISSING and not placed:
            self._place()
            self.gather(left, calls, placed=True)
        elif left:
            self.gather(left)

    def fact(self, cls: type[FactBase[T]], **kwargs: Any) -> T:  # noqa: ANN401 - the fact's own
        """Return a fact of this host, from memory where it is known. RemoteError when it fails."""
        fact = cls()
        text = str(fact.command(**kwargs))
        job = self._job(text)
        known = self.memory.output(job) if job is not None else None
        if known is None:
            ran = self._run(text, b"", FACT_TIMEOUT)
            known = script.Output(ran.status, script.lines(ran.stdout), (ran.stderr,))
        if known.status != 0:
            raise RemoteError(self.name, f"{fact.name}: {known.stderr}")
        return fact.process(list(known.stdout)) if known.stdout else fact.default()

    def _job(self, text: str) -> Job | None:
        """Return `text` as pyinfra would run a fact here; None where it has to run alone."""
        return jobs.job(text, {**self._auth, "_shell_executable": "sh"})

    def _prefix(self, rights: dict[str, Any]) -> str:
        if not rights:
            return "sh"
        command = make_unix_command_for_host(
            self._state, self._host, StringCommand("sh"), _shell_executable="sh", **rights
        )
        return command.get_raw_value()

    def _run(
        self,
        text: str,
        stdin: bytes,
        timeout: float,
        on_line: Callable[[str], None] | None = None,
        on_stdout: Callable[[bytes], None] | None = None,
    ) -> Ran:
        command = make_unix_command_for_host(
            self._state, self._host, StringCommand(text), **self._auth
        )
        return self._execute(command.get_raw_value(), stdin, timeout, on_line, on_stdout)

    def _execute(
        self,
        command: str,
        stdin: bytes,
        timeout: float,
        on_line: Callable[[str], None] | None = None,
        on_stdout: Callable[[bytes], None] | None = None,
    ) -> Ran:
        expired = gevent.Timeout(timeout)
        channel = None
        try:
            with expired:
                channel = self.transport.open_session(timeout=timeout)
                return converse(channel, command, stdin, on_line, on_stdout)
        except gevent.Timeout as passed:
            if passed is not expired:
                raise
            raise RemoteLost(
                self.name, f"no answer within {timeout:.0f} s from: {_short(command)}"
            ) from None
        except (paramiko.SSHException, OSError, EOFError) as error:
            why = str(error) or type(error).__name__
            raise RemoteLost(self.name, f"the SSH connection broke ({why})") from error
        finally:
            if channel is not None:
                channel.close()

    def call(
        self,
        command: str,
        stack: str = "-",
        payload: Mapping[str, Any] | None = None,
        *,
        timeout: float = 60.0,
        on_line: Callable[[str], None] | None = None,
    ) -> dict[str, Any]:
        """Run a command of the host program and return its document.

        The program is uploaded when the host has not this very build of it. Raises RemoteRefused,
        RemoteGate, RemoteBroken or RemoteError by the kind it reports, RemoteLost without answer.
        """
        known = self.memory.answer((command, stack, payload or {}))
        if known is not None:
            return judge(self.name, known)
        token = self._leases.get(stack)
        document = {**({"lock_token": token} if token else {}), **(payload or {})}
        with self._minding(command):
            ran = self._program(command, stack, json.dumps(document), timeout, on_line)
        return judge(self.name, program.document(self.name, command, ran))

    def _minding(self, *commands: str) -> AbstractContextManager[None]:
        """Forget what is known of the host, unless `commands` leave that as it is."""
        return nullcontext() if HARMLESS.issuperset(commands) else self.memory.changing()

    def many(
        self, calls: Sequence[Call], *, timeout: float = 60.0, keep: bool = False
    ) -> list[Any]:
        """Put several questions in one exec; each answer, a document or a RemoteError, in order.

        Only for commands that change nothing, and for leases, which come before all questions.
        What is answered to questions is remembered with `keep`, for when nobody else works on the
        host. Raises RemoteError itself when the
        host did not answer at all.
        """
        answers: list[Any] = [self.memory.answer(call) for call in calls]
        if None in answers:
            with self._minding(*(command for command, _, _ in calls)):
                ran = self._program("many", calls[0][1], program.asked(calls), timeout)
            answers = judge(self.name, program.document(self.name, "many", ran))["answers"]
            if keep:
                told = zip(calls, answers, strict=True)
                questions = [one for one in told if one[0][0] in READING]
                self.memory.keep(self.memory.generation, {}, questions)
        return [program.judged(self.name, answer) for answer in answers]

    def _program(
        self,
        command: str,
        stack: str,
        stdin: str,
        timeout: float,
        on_line: Callable[[str], None] | None = None,
    ) -> Ran:
        text = program.start(bundle.host_program()[1], command, stack)
        ran = self._run(text, stdin.encode(), timeout, on_line)
        if ran.status == program.MISSING:
            ran = self._place(text, stdin.encode(), timeout, on_line)
        return ran

    def _place(
        self,
        then: str = ":",
        stdin: bytes = b"",
        timeout: float = 0.0,
        on_line: Callable[[str], None] | None = None,
    ) -> Ran:
        """Put the program on the host and run the shell text `then`, which reads `stdin`."""
        body, digest = bundle.host_program()
        text = f"{program.placing(digest, len(body))}; {then}"
        ran = self._run(text, body + stdin, UPLOAD_TIMEOUT + timeout, on_line)
        if ran.status == program.NOT_PLACED:
            raise RemoteError(
                self.name,
                f"cannot place Stackpin's program at {bundle.unpacked(digest)}: "
                f"{ran.stderr.strip()[-300:]}; expected python3 there, and a user who is root or "
                "may use sudo (_sudo in the inventory)",
            )
        return ran


def _short(text: str) -> str:
    return text if len(text) <= 120 else text[:117] + "..."
