"""Runs on a host: print a stack's log with its secrets masked, and end when nobody reads.

    python3 follow.py HOST_PROGRAM STACK '{"lines": 20, "since": null, "follow": true, ...}'

Standard library only; the masking is the host program's own. Its environment files hold the very
values that are running, which the operator's machine need not know.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from typing import Any


def main() -> int:
    """Print the log of the given slot, or of the live one, moving on when another goes live."""
    program, name, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    sys.path.insert(0, program)
    from stackpin.host.stack import Stack  # noqa: PLC0415 -- from the program named above

    stack = Stack.load(name)
    if not stack.installed:
        print(f"{stack.settings_file}: not found: {name} is not installed here", file=sys.stderr)  # noqa: T201
        return 3
    slot = options["slot"] or live(stack)
    since, lines = options["since"], options["lines"]
    while True:
        status = show(stack, slot, since, lines, options)
        if status is not None:
            return status
        slot = live(stack)
        # A little back: the new slot was started before it went live.
        since, lines = f"@{int(time.time()) - 60}", None
        emit(f"-- {slot} is live now --\n")


def live(stack: Any) -> str:  # noqa: ANN401 -- a class of the program loaded at run time
    """Return the live slot by the slot file."""
    return "green" if stack.slot_file.exists() else "blue"


def masker(stack: Any) -> Any:  # noqa: ANN401
    """Return a function that masks the secrets of every release on this host."""
    from stackpin.host import envfile  # noqa: PLC0415
    from stackpin.host.masking import Masker  # noqa: PLC0415

    masks = []
    made = [stack.at(path) for path in stack.env_files if stack.at(path).is_file()]
    for path in [*sorted(stack.releases_dir.glob("*/env")), *made]:
        masks.append(Masker.of(envfile.parse_env(path.read_text("utf-8"))))

    def mask(text: str) -> str:
        for one in masks:
            text = one(text)
        return text

    return mask


def show(
    stack: Any,  # noqa: ANN401
    slot: str,
    since: str | None,
    lines: int | None,
    options: dict[str, Any],
) -> int | None:
    """Print one slot's log; return an exit status, or None when another slot went live."""
    if stack.uses_images:
        argv = of_container(stack, slot, since, lines, options)
    else:
        argv = of_unit(stack, slot, since, lines, options)
    mask = masker(stack)
    # A container has two streams, and a log is both.
    both = subprocess.STDOUT if stack.uses_images else None
    reader = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=both)
    try:
        return pump(reader, mask, lambda: not options["slot"] and live(stack) != slot)
    finally:
        reader.kill()
        reader.wait()


def of_unit(
    stack: Any,  # noqa: ANN401
    slot: str,
    since: str | None,
    lines: int | None,
    options: dict[str, Any],
) -> list[str]:
    """Return the command that reads a unit's log."""
    argv = ["journalctl", "--quiet", "--no-pager", "--no-hostname", "--output=short-iso"]
    argv += [f"--unit={stack.unit(slot)}"]
    argv += [f"--since={since}"] if since else []
    argv += [f"--lines={lines}"] if lines is not None else ["--no-tail"] * bool(options["follow"])
    return argv + (["--follow"] if options["follow"] else [])


def of_container(
    stack: Any,  # noqa: ANN401
    slot: str,
    since: str | None,
    lines: int | None,
    options: dict[str, Any],
) -> list[str]:
    """Return the command that reads the log of a slot's container."""
    from stackpin.host.drivers import driver  # noqa: PLC0415
    from stackpin.host.errors import HostError  # noqa: PLC0415

    try:
        shown = driver(stack).show(stack, (slot,))[slot]
    except HostError as error:
        print(error.message, file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    if shown.get("id") is None:
        print(f"{stack.name}: slot {slot} has no container on this host", file=sys.stderr)  # noqa: T201
        sys.exit(3)
    argv = ["docker", "logs", "--timestamps"]
    if since:
        # docker does not know "10 min ago"; date knows what journalctl does.
        asked = ["date", "--date", since, "+%s"]
        told = subprocess.run(asked, capture_output=True, text=True, check=False)
        argv += ["--since", told.stdout.strip() or since]
    argv += ["--tail", str(lines)] if lines is not None else []
    argv += ["--follow"] if options["follow"] else []
    return [*argv, shown["id"]]


def pump(reader: Any, mask: Any, moved: Any) -> int | None:  # noqa: ANN401
    """Copy whole lines through `mask` until the end, a move of the live slot, or no reader."""
    waiting = select.poll()
    waiting.register(reader.stdout.fileno(), select.POLLIN)
    waiting.register(1, 0)  # asks for nothing: told only when the other end is closed
    rest = b""
    while True:
        ready = dict(waiting.poll(500))
        if 1 in ready:
            return 0
        if ready:
            block = os.read(reader.stdout.fileno(), 65536)
            if not block:
                emit(mask(rest.decode("utf-8", "replace")))
                return int(reader.wait())
            whole, _, rest = (rest + block).rpartition(b"\n")
            if whole:
                emit(mask(whole.decode("utf-8", "replace") + "\n"))
        elif moved():
            return None


def emit(text: str) -> None:
    """Write to standard output at once; end quietly when nobody reads."""
    data = text.encode("utf-8", "replace")
    try:
        while data:
            data = data[os.write(1, data) :]
    except OSError:
        sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
