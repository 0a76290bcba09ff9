"""Programs on a host over one SSH connection: plain ones, and the host program's commands."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gevent
import paramiko
from pyinfra.api.command import StringCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.connectors.util import make_unix_command_for_host

from stackpin.engine import bundle
from stackpin.errors import GateFailed, Refused, RollbackFailed, StackpinError

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
MISSING = 90
UPLOAD_TIMEOUT = 60.0


@dataclass(frozen=True)
class Ran:
    """What a program on a host did: its exit status and all it wrote."""

    status: int
    stdout: bytes
    stderr: str


class RemoteError(StackpinError):
    """A command of the host program failed; `detail` is what it reported about it."""

    def __init__(self, host: str, message: str, detail: Mapping[str, Any] | None = None) -> None:
        self.host = host
        self.message = message
        self.detail = dict(detail or {})
        super().__init__(f"{host}: {message}")


class RemoteRefused(RemoteError, Refused):  # noqa: N818 - reads as what happened
    """The host declined (exit code 3): a lock, a state, a bad input."""

    exit_code = 3


class RemoteGate(RemoteError, GateFailed):  # noqa: N818 - reads as what happened
    """A gate on the host did not pass (exit code 4); detail carries the check and the log."""

    exit_code = 4


class RemoteBroken(RemoteError, RollbackFailed):  # noqa: N818 - reads as what happened
    """The host reports a state it could not repair (exit code 5)."""

    exit_code = 5


class RemoteLost(RemoteError):  # noqa: N818 - reads as what happened
    """No answer: the connection broke or the deadline passed. What happened there is unknown."""


KINDS: dict[str, type[RemoteError]] = {
    "refused": RemoteRefused,
    "gate": RemoteGate,
    "broken": RemoteBroken,
}


class Remote:
    """One SSH connection to one host.

    `connector` is a connected pyinfra SSH connector; commands run with the rights that the
    inventory gives (`_sudo` and its relatives in host data). `leases` maps a stack to the token
    of the lease held on this host: calls for that stack carry it.
    """

    def __init__(
        self,
        state: State,
        host: Host,
        connector: Any,  # noqa: ANN401 - pyinfra types it by protocol only
        leases: Mapping[str, str],
    ) -> None:
        self.name: str = host.name
        self._state = state
        self._host = host
        self._connector = connector
        self._leases = leases
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
        command = make_unix_command_for_host(
            self._state, self._host, StringCommand(text), **self._auth
        ).get_raw_value()
        expired = gevent.Timeout(timeout)
        channel = None
        try:
            with expired:
                channel = self.transport.open_session(timeout=timeout)
                return _converse(channel, command, stdin, on_line, on_stdout)
        except gevent.Timeout as passed:
            if passed is not expired:
                raise
            raise RemoteLost(
                self.name, f"no answer within {timeout:.0f} s from: {_short(text)}"
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
        program, digest = bundle.host_program()
        path = f"/run/stackpin/host-{digest[:12]}.pyz"
        # One exec when the program is there. `exec` keeps the exit status its own.
        text = (
            f"[ -s {path} ] || exit {MISSING}; "
            f"exec python3 {path} {shlex.quote(command)} {shlex.quote(stack)}"
        )
        token = self._leases.get(stack)
        document = {**({"lock_token": token} if token else {}), **(payload or {})}
        stdin = json.dumps(document).encode()
        ran = self.run(text, stdin, timeout=timeout, on_line=on_line)
        if ran.status == MISSING:
            self._upload(path, program, digest)
            ran = self.run(text, stdin, timeout=timeout, on_line=on_line)
        return self._answer(command, ran)

    def many(
        self, calls: Sequence[tuple[str, str, Mapping[str, Any]]], *, timeout: float = 60.0
    ) -> list[dict[str, Any] | RemoteError]:
        """Put several questions, (command, stack, payload) each, in one exec; answers in order.

        Only for commands that change nothing. A question that fails is its RemoteError; raises
        RemoteError itself when the host did not answer at all.
        """
        asked = [{"command": name, "stack": stack, "payload": dict(p)} for name, stack, p in calls]
        document = self.call("many", calls[0][1], {"calls": asked}, timeout=timeout)
        found: list[dict[str, Any] | RemoteError] = []
        for answer in document["answers"]:
            try:
                found.append(self._judge(answer))
            except RemoteError as error:
                found.append(error)
        return found

    def _upload(self, path: str, program: bytes, digest: str) -> None:
        # Written beside and renamed, so that no other run can start half a program.
        text = (
            "umask 077; mkdir -p -m 0700 /run/stackpin && "
            f"t=$(mktemp {path}.XXXXXX) && cat >$t && "
            f'echo "{digest}  $t" | sha256sum -c --status && chmod 0755 $t && mv -f $t {path}'
        )
        ran = self.run(text, program, timeout=UPLOAD_TIMEOUT)
        if ran.status != 0:
            raise RemoteError(
                self.name,
                f"cannot place Stackpin's program at {path}: {ran.stderr.strip()[-300:]}; "
                "expected a user who is root or may use sudo (_sudo in the inventory)",
            )

    def _answer(self, command: str, ran: Ran) -> dict[str, Any]:
        try:
            document = json.loads(ran.stdout)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            last = ran.stderr.strip()[-500:] or "nothing on stderr"
            raise RemoteError(
                self.name, f"`{command}` ended with status {ran.status} and no answer: {last}"
            )
        return self._judge(document)

    def _judge(self, document: dict[str, Any]) -> dict[str, Any]:
        if document.get("ok"):
            return document
        error = document.get("error") or {}
        kind = KINDS.get(str(error.get("kind")), RemoteError)
        raise kind(self.name, str(error.get("message", "failed")), error.get("detail"))


def _converse(
    channel: paramiko.Channel,
    command: str,
    stdin: bytes,
    on_line: Callable[[str], None] | None,
    on_stdout: Callable[[bytes], None] | None,
) -> Ran:
    channel.exec_command(command)
    writer = gevent.spawn(_write, channel, stdin)
    reader = gevent.spawn(_read_lines, channel, on_line)
    try:
        stdout = bytearray()
        while block := channel.recv(65536):
            if on_stdout:
                on_stdout(block)
            else:
                stdout += block
        status = channel.recv_exit_status()
        if status == -1:
            # No status arrived: the connection ended under the program.
            raise EOFError("closed before the program ended")
        reader.join()
        return Ran(status, bytes(stdout), reader.value or "")
    finally:
        gevent.killall([writer, reader], block=False)


def _write(channel: paramiko.Channel, data: bytes) -> None:
    try:
        channel.sendall(data)
        channel.shutdown_write()
    except OSError:
        # The program ended without reading its input; its status says why.
        return


def _read_lines(channel: paramiko.Channel, on_line: Callable[[str], None] | None) -> str:
    text, rest = "", ""
    while block := channel.recv_stderr(65536):
        piece = block.decode("utf-8", "replace")
        text += piece
        if on_line:
            *lines, rest = (rest + piece).split("\n")
            for line in lines:
                on_line(line)
    return text


def _short(text: str) -> str:
    return text if len(text) <= 120 else text[:117] + "..."
