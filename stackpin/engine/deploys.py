"""Deploy files run as pyinfra's command line runs them, with every result kept and none printed."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.operations import run_ops
from pyinfra.api.state import State, StateStage
from pyinfra.context import ctx_config, ctx_host
from pyinfra_cli.exceptions import UnexpectedExternalError
from pyinfra_cli.util import load_deploy_file

from operations import notes
from stackpin.engine.gather.memory import Call
from stackpin.engine.gather.refill import Refill
from stackpin.engine.part import loading
from stackpin.engine.predict import verdict
from stackpin.engine.session import Session
from stackpin.engine.state import active, load_inventory, new_state
from stackpin.errors import Refused, StackpinError

__all__ = ["DeployRun", "OpResult", "execute", "explore", "prepared"]

# Seconds one command of a deploy may take; an apt install on a slow line is the longest.
COMMAND_TIMEOUT = 600
ATTEMPTS = 7  # as deep as facts that are asked for because of other facts may be, and one
OVERRIDES = {"stackpin_driver": "operator", "_timeout": COMMAND_TIMEOUT}


@dataclass(frozen=True)
class OpResult:
    """What became of one operation on one host.

    `status` is change, no-change or conditional after preparing; changed, ok, failed or not-run
    after executing. `stderr` holds its last lines.
    """

    host: str
    part: str
    op_hash: str
    name: str
    status: str
    stderr: tuple[str, ...] = ()


@dataclass
class DeployRun:
    """A prepared State: `parts` maps (host, operation hash) to the stack part it came from."""

    state: State
    log: LogCapture
    parts: dict[tuple[str, str], str] = field(default_factory=dict)

    def results(self) -> Iterator[OpResult]:
        """Yield every operation on every host, in the order they run."""
        for op_hash in self.state.get_op_order():
            name = ", ".join(sorted(self.state.op_meta[op_hash].names))
            for host in self.state.inventory:
                data = self.state.ops[host].get(op_hash)
                if data is None:
                    continue
                meta = data.operation_meta
                if not self.state.is_executing:
                    status = verdict(self.state, host, op_hash)
                elif not meta.is_complete():
                    status = "not-run"
                elif meta.did_error():
                    status = "failed"
                else:
                    status = "changed" if meta.did_change() else "ok"
                stderr = tuple(meta.stderr_lines[-20:]) if meta.is_complete() else ()
                part = self.parts.get((host.name, op_hash), "")
                yield OpResult(host.name, part, op_hash, name, status, stderr)


class LogCapture(logging.Handler):
    """pyinfra only logs what went wrong: keep it, tagged with the greenlet's host."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record."""
        host = ctx_host.get()
        self.lines.append((host.name if host is not None else "", record.getMessage()))

    def about(self, host: str) -> list[str]:
        """Return the warnings and errors about `host`, or about none in particular."""
        return [text.strip() for name, text in self.lines if name in {host, ""} and text.strip()]


@contextmanager
def prepared(
    session: Session,
    hosts: Sequence[str],
    files: Mapping[str, Sequence[str]],
    data: Mapping[str, Any],
    *,
    places: Mapping[str, Sequence[str]] | None = None,
    fail_percent: int = 0,
) -> Iterator[DeployRun]:
    """Load deploy files for `hosts` over the session's connections and yield the prepared run.

    `files` maps a stack part to its deploy files, in order; `places` a host to the parts it has
    (None: all of them). Files are loaded without asking the hosts at first, and again with what
    they wanted to know, until nothing is unknown (see stackpin.engine.gather). Up to
    `fail_percent` of the hosts may fail while the others go on. Raises Refused when a file or a
    fact fails: nothing was changed then.
    """
    places = places or dict.fromkeys(hosts, tuple(files))
    places = {host: [part for part in places[host] if part in files] for host in hosts}
    gathering = session.gathering
    batched = {host: memory for host, memory in gathering.wrapped.items() if host in places}
    with active(session.state):
        gathering.ask(session, places)
    for attempt in range(ATTEMPTS):
        # The last attempt asks for itself what is still not known: it always comes to an end.
        offline = batched if attempt < ATTEMPTS - 1 else {}
        for memory in batched.values():
            memory.begin()
        notes.reset()
        state = _state(session, hosts, data, fail_percent)
        log = LogCapture()
        with _capturing(log), active(state):
            run = DeployRun(state, log)
            state.set_stage(StateStage.Connect)
            state.set_stage(StateStage.Prepare)
            with ExitStack() as unasked:
                for memory in offline.values():
                    unasked.enter_context(memory.unasked())
                error = _load_all(run, files, places)
            if gathering.learn(session, offline):
                continue
            if error is not None:
                raise error
            gathering.note_used(batched)
            state.add_callback_handler(Refill(gathering.memories, partial(gathering.read, session)))
            yield run
            return


def _load_all(
    run: DeployRun, files: Mapping[str, Sequence[str]], places: Mapping[str, Sequence[str]]
) -> StackpinError | None:
    """Load all deploy files; return the first error, which for lack of facts may mean nothing."""
    found: StackpinError | None = None
    for part, names in files.items():
        with _only(run.state, part, places):
            for name in names:
                try:
                    _load(run, part, name)
                except StackpinError as error:
                    found = found or error
    return found


@contextmanager
def _capturing(log: LogCapture) -> Iterator[None]:
    logger = logging.getLogger("pyinfra")
    logger.addHandler(log)
    try:
        yield
    finally:
        logger.removeHandler(log)


def explore(
    session: Session,
    files: Mapping[str, Sequence[str]],
    data: Mapping[str, Any],
    places: Mapping[str, Sequence[str]],
    calls: Mapping[str, Sequence[Call]],
) -> None:
    """Read all that a plan wants to know, and the answers to `calls`, into the hosts' memories.

    One exec per host where the last run wrote down what that is. What is wrong with a deploy
    file is left for the plan to say.
    """
    with active(session.state):
        known = session.gathering.ask(session, places, calls)
    if not known:
        with suppress(StackpinError), prepared(session, list(places), files, data, places=places):
            pass


def execute(run: DeployRun) -> list[OpResult]:
    """Apply what was prepared and return every result; a failure stops the batch's hosts."""
    run.state.set_stage(StateStage.Execute)
    try:
        run_ops(run.state)
    except PyinfraError:
        # "Over 0% of hosts failed": the results below say which operation of which host.
        pass
    except Exception as error:
        raise StackpinError(_explain(run, "", error)) from error
    return list(run.results())


@contextmanager
def _only(state: State, part: str, places: Mapping[str, Sequence[str]] | None) -> Iterator[None]:
    """Let pyinfra see only the hosts that have `part` while its deploy files are loaded."""
    active = state.active_hosts
    if places is not None:
        state.active_hosts = {host for host in active if part in places[host.name]}
    try:
        yield
    finally:
        state.active_hosts = active


def _state(
    session: Session, hosts: Sequence[str], data: Mapping[str, Any], fail_percent: int
) -> State:
    inventory = load_inventory(session.inventory, {**data, **OVERRIDES})
    chosen = [host for host in inventory if host.name in set(hosts)]
    state = new_state(inventory, chosen, fail_percent, session.gathering.wrapped)
    for host in chosen:
        old = session.pyinfra_host(host.name)
        connector: Any = host.connector
        # A live connection serves the next State as well: no second handshake.
        connector.client = session.client(host.name)
        host.connector_data = old.connector_data
        host.connected = True
        state.activate_host(host)
    return state


def _introduce(name: str) -> None:
    """Let `inspect` know the deploy file as a module's.

    pyinfra asks it for the caller of every operation, and for a file of no module it looks through
    all of them, each time: half of what loading a deploy file costs.
    """
    module = ModuleType(f"{__name__}:{name}")
    module.__file__ = str(Path(name).absolute())
    sys.modules[module.__name__] = module


def _load(run: DeployRun, part: str, name: str) -> None:
    _introduce(name)
    config = ctx_config.get()
    known = {(host.name, op_hash) for host, ops in run.state.ops.items() for op_hash in ops}
    config.lock_current_state()
    run.state.current_op_file_number += 1
    try:
        with loading(part):
            load_deploy_file(run.state, name)
    except StackpinError:
        raise
    except Exception as error:
        raise Refused(_explain(run, name, error)) from error
    finally:
        config.reset_locked_state()
    for host, ops in run.state.ops.items():
        for op_hash in ops:
            if (host.name, op_hash) not in known:
                run.parts[host.name, op_hash] = part


def _explain(run: DeployRun, name: str, error: Exception) -> str:
    cause: BaseException = error
    if isinstance(error, UnexpectedExternalError):
        # str() of this error raises: take it apart.
        cause, name = error.exception, str(error.filename)
        if isinstance(cause, StackpinError):
            raise cause
    where = f"{name}: " if name else ""
    text = f"{where}{cause}" if isinstance(cause, PyinfraError) else f"{where}{cause!r}"
    failed = sorted(host.name for host in run.state.failed_hosts)
    told = [f"{host}: {line}" for host in failed for line in run.log.about(host)[-5:]]
    return "\n".join([text, *told])
