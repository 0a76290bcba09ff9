"""What the host program says about a stack."""

# ruff: noqa: D102 - what default, command and process do is told once, by pyinfra
from __future__ import annotations

import json
import shlex
from typing import Any

from pyinfra.api.facts import FactBase

from stackpin.engine.bundle import host_program, unpacked

PROGRAM = "/usr/local/lib/stackpin/host.pyz"
SETTINGS = "/etc/stackpin/{stack}/stack.json"


class StackState(FactBase[dict[str, Any]]):
    """The host program's `state` of `stack`; `{"installed": False}` on a host without it.

    An answer that cannot be read counts as not installed and carries the text in "unreadable":
    the deploy that follows replaces the program, which is the remedy. Where the same program lies
    unpacked, as the engine leaves it, that one is asked: it starts in half the time.
    """

    @staticmethod
    def default() -> dict[str, Any]:
        return {"installed": False}

    def command(self, stack: str) -> str:
        return (
            f"p={unpacked(host_program()[1])}; cmp -s {PROGRAM} $p/zip || p={PROGRAM};"
            " if [ -e $p ] && command -v python3 >/dev/null; then"
            f" python3 -IS $p state {shlex.quote(stack)} 2>/dev/null </dev/null; fi; true"
        )

    def process(self, output: list[str]) -> dict[str, Any]:
        text = "\n".join(output)
        try:
            answer = json.loads(text)
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or not answer.get("ok", True):
            return {"installed": False, "unreadable": text[:500]}
        return answer


class SlotPorts(FactBase[dict[str, int]]):
    """Slot -> port as `stack` was deployed with; empty where it was not.

    Nothing else of the file is printed: it may hold secrets of a backup repository.
    """

    @staticmethod
    def default() -> dict[str, int]:
        return {}

    def command(self, stack: str) -> str:
        path = shlex.quote(SETTINGS.format(stack=stack))
        program = 'import json, sys; print(json.dumps(json.load(open(sys.argv[1]))["ports"]))'
        return (
            f"if [ -f {path} ] && command -v python3 >/dev/null; then"
            f" python3 -IS -c {shlex.quote(program)} {path} 2>/dev/null </dev/null; fi; true"
        )

    def process(self, output: list[str]) -> dict[str, int]:
        try:
            found = json.loads("\n".join(output))
        except ValueError:
            return {}
        return {str(k): int(v) for k, v in found.items()} if isinstance(found, dict) else {}
