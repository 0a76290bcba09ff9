"""pyinfra State objects the way its command line makes them, several in one process.

pyinfra keeps much in process globals. Everything a second run would trip over is reset here.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyinfra
from pyinfra.api import util as api_util
from pyinfra.api.config import Config
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.api.state import State
from pyinfra.context import ctx_config, ctx_host, ctx_inventory, ctx_state
from pyinfra_cli import util as cli_util
from pyinfra_cli.exceptions import UnexpectedExternalError
from pyinfra_cli.inventory import make_inventory

from stackpin.engine.gather.connector import remembering
from stackpin.engine.gather.memory import Memory
from stackpin.errors import Refused

__all__ = ["forget_inventory", "load_inventory", "new_state", "select_hosts"]

CONNECT_TIMEOUT = 10

_read: tuple[object, Inventory] | None = None
"""What was read last, and of which files: one command reads it three times and more."""

# Without a handler pyinfra's warnings would reach stderr through logging's last resort.
logging.getLogger("pyinfra").addHandler(logging.NullHandler())
logging.getLogger("pyinfra").propagate = False
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False


def load_inventory(
    path: str,
    data: Mapping[str, Any] | None = None,
    instead: Mapping[Path, bytes] | None = None,
) -> Inventory:
    """Read the inventory file at `path` with group data around it; refuse when there is none.

    `data` overrides every host's variables, as pyinfra's --data does. `instead` has contents to
    take for files, to see what an edit would do before it is written. Files that were read before
    are not run again while they are the same, until `forget_inventory`.
    """
    global _read  # noqa: PLW0603 - pyinfra's own state is the process's as well
    if not Path(path).is_file():
        raise Refused(
            f"{path}: no such inventory file in {Path.cwd()}; expected one like inventories/prod, "
            "and the command to be run from the repository's root"
        )
    _reset_process_caches()
    files = _files(path)
    if not instead and _read is not None and _read[0] == files:
        return _anew(_read[1], data)
    for file, source in (instead or {}).items():
        code = compile(source, str(file), "exec")
        # pyinfra looks compiled files up by the name it would open them with.
        names = {str(file), str(Path.cwd() / file), str(file.absolute()), str(file.resolve())}
        cli_util.PYTHON_CODES.update(dict.fromkeys(names, code))
    cwd = str(Path.cwd())
    if cwd not in sys.path:
        sys.path.append(cwd)
    with _context(State(), Config()):
        try:
            inventory: Inventory = make_inventory(path, override_data=dict(data or {}), cwd=cwd)
        except UnexpectedExternalError as error:
            # str() of this error raises: take it apart.
            cause = error.exception
            raise Refused(f"{error.filename}: {type(cause).__name__}: {cause}") from cause
        except (PyinfraError, OSError) as error:
            raise Refused(f"{path}: {error}") from error
    if not len(inventory):
        raise Refused(f"{path}: the inventory names no host; add one to a list in it")
    # Hosts of a connector ("@terraform/...") come from elsewhere, which may have changed.
    static = not instead and not any(name.startswith("@") for name in inventory.hosts)
    _read = (files, inventory) if static else None
    return inventory


def forget_inventory() -> None:
    """Have the next `load_inventory` run the files again: a program in them may say else."""
    global _read  # noqa: PLW0603
    _read = None


def _files(path: str) -> tuple[object, ...]:
    """Tell the files of an inventory, as pyinfra looks for them, from those before an edit."""
    folders = dict.fromkeys((Path.cwd() / "group_data", Path(path).resolve().parent / "group_data"))
    files = [Path(path), *(file for folder in folders for file in sorted(folder.glob("*.py")))]
    facts = [(str(file), file.stat()) for file in files]
    return Path.cwd(), *((name, at.st_ino, at.st_mtime_ns, at.st_size) for name, at in facts)


def _anew(inventory: Inventory, data: Mapping[str, Any] | None) -> Inventory:
    """Return the same inventory with hosts that no run knows yet; `data` as in load_inventory."""
    hosts = [(name, dict(found)) for name, found in inventory.host_data.items()]
    groups = {
        name: ([host.name for host in inventory.groups.get(name, ())], dict(found))
        for name, found in inventory.group_data.items()
    }
    return Inventory((hosts, dict(inventory.data)), override_data=dict(data or {}), **groups)


def select_hosts(inventory: Inventory, limit: Sequence[str], path: str) -> list[Host]:
    """Return the hosts called by names or groups in `limit` (all when empty), inventory order."""
    if not limit:
        return list(inventory)
    wanted: set[str] = set()
    groups = {**inventory.groups}
    for name in limit:
        found = {host.name for host in groups.get(name, [])}
        found |= {host.name for host in inventory if host.name == name}
        if not found:
            known = ", ".join(sorted({host.name for host in inventory} | set(groups)))
            raise Refused(f"--limit {name}: no such host or group in {path}; it knows {known}")
        wanted |= found
    return [host for host in inventory if host.name in wanted]


def new_state(
    inventory: Inventory,
    hosts: Sequence[Host],
    fail_percent: int = 0,
    memories: Mapping[str, Memory] = MappingProxyType({}),
) -> State:
    """Return a State over `hosts`; a State and its hosts serve for one run only.

    More than `fail_percent` of the hosts failing stops the operations of all. With `memories`, by
    host, facts are answered from there where they are known.
    """
    for host in inventory if memories else ():
        host.connector_cls = remembering(host.connector_cls, memories[host.name])
    state = State(check_for_changes=True)
    state.cwd = str(Path.cwd())
    config = Config(FAIL_PERCENT=fail_percent, CONNECT_TIMEOUT=CONNECT_TIMEOUT)
    state.init(inventory, config, initial_limit=list(hosts))
    return state


@contextmanager
def active(state: State) -> Iterator[None]:
    """Make `state` the one pyinfra works on, as its command line does; one at a time."""
    with _context(state, state.config, state.inventory):
        yield


@contextmanager
def _context(state: State, config: Config, inventory: Inventory | None = None) -> Iterator[None]:
    # Deploy files need is_cli: otherwise operations of different branches merge into one.
    pyinfra.is_cli = True
    ctx_state.set(state)
    ctx_config.set(config)
    if inventory is not None:
        ctx_inventory.set(inventory)
    try:
        yield
    finally:
        # pyinfra's own context managers leak after an exception.
        for context in (ctx_state, ctx_config, ctx_inventory, ctx_host):
            context.reset()
        pyinfra.is_cli = False


def _reset_process_caches() -> None:
    from pyinfra.connectors.ssh import SSHConnector  # noqa: PLC0415 - pyinfra loads it late too
    from pyinfra.connectors.sshuserclient import client  # noqa: PLC0415

    cli_util.PYTHON_CODES.clear()
    api_util.TEMPLATES.clear()
    api_util.FILE_SHAS.clear()
    for memoized in (
        Host._get_temp_directory,
        SSHConnector.get_file_transfer_connection,
        client.get_host_keys,
        client.get_ssh_config,
    ):
        memoized.cache.clear()
    State.stage_warnings.clear()
