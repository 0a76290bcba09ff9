"""Docker's named volumes: made once, kept."""

from __future__ import annotations

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from facts.files import Tree
from operations.notes import Change, note
from operations.program import Commands

__all__ = ["present"]


@operation()
def present(volume: str, stack: str, path: str) -> Commands:
    """Have docker's `volume`, labelled as `stack`'s; `path` is where its data lies on the host."""
    if path in host.get_fact(Tree, paths=[path]):
        host.noop(f"volume {volume} is there")
        return
    note(Change("directory", path, None, f"docker volume {volume}"))
    yield StringCommand(
        "docker volume create --label",
        QuoteString(f"stackpin.stack={stack}"),
        QuoteString(volume),
        ">/dev/null",
    )
