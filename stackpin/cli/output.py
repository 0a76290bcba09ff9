"""What the user sees: lines and tables on a terminal, or one JSON document with --json.

Human text of a command goes to stdout, progress and errors to stderr. With --json stdout carries
exactly one document, printed when the command ends. Everything passes the redactor of known
secrets on its way out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Output"]


class Output:
    """One command's voice.

    `command` is the command's name, put into the JSON document; `as_json` chooses the document;
    `debug` shows tracebacks and pyinfra's own messages.
    """

    def __init__(self, command: str, *, as_json: bool = False, debug: bool = False) -> None:
        self.command = command
        self.as_json = as_json
        self.debug = debug
        self._document: dict[str, Any] = {}
        self._console: Console | None = None

    def line(self, text: str = "") -> None:
        """Print one plain line (or several) to stdout; to stderr with --json. No markup."""
        stream = sys.stderr if self.as_json else sys.stdout
        print(redact(text), file=stream, flush=True)

    def note(self, text: str) -> None:
        """Print a line to stderr in both modes: a warning or a hint."""
        print(redact(text), file=sys.stderr, flush=True)  # noqa: T201 - this is the printer

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
        """Print a table of plain strings (human mode only; JSON callers use `document`)."""
        if self.as_json:
            return
        from rich.table import Table  # noqa: PLC0415 - slow to import, seldom needed
        from rich.text import Text  # noqa: PLC0415

        table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(Text(redact(str(cell))) for cell in row))
        self.console.print(table)

    @property
    def console(self) -> Console:
        """The rich console on stdout, made when first used."""
        if self._console is None:
            from rich.console import Console  # noqa: PLC0415

            width = None if sys.stdout.isatty() else 160
            self._console = Console(highlight=False, soft_wrap=False, width=width)
        return self._console

    def document(self, values: Mapping[str, Any]) -> None:
        """Add `values` (JSON-ready) to the document that --json prints; no effect otherwise."""
        self._document.update(values)

    def error(self, message: str, *, kind: str, detail: object = None) -> None:
        """Say why the command failed: on stderr, and as `error` in the JSON document."""
        self.note(f"stackpin: {message}")
        entry: dict[str, Any] = {"kind": kind, "message": message}
        if detail:
            entry["detail"] = detail
        self._document["error"] = entry

    def close(self, code: int) -> None:
        """Print the JSON document, if one is wanted, with the exit code in it."""
        if not self.as_json:
            return
        head = {"command": self.command, "ok": code == 0, "exit": int(code)}
        text = json.dumps({**head, **self._document}, indent=2, default=str, ensure_ascii=False)
        print(redact(text), flush=True)  # noqa: T201 - this is the printer


def redact(text: str) -> str:
    """Return `text` with every known secret value replaced by ***."""
    # No secret can be known before the module that resolves them was imported.
    module = sys.modules.get("stackpin.redact")
    return str(module.redact(text)) if module else text
