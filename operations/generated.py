"""Secrets made up on the host, once: they never travel, and a second run keeps them."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from facts.files import Tree
from facts.generated import Names
from operations.notes import Change, note
from operations.program import Commands

# Reads {path, digits} on standard input and adds what is missing; prints nothing.
_MAKE = """
import json, os, secrets, sys
wanted = json.load(sys.stdin)
path = wanted["path"]
try:
    text = open(path).read()
except FileNotFoundError:
    text = ""
if text and not text.endswith("\\n"):
    text += "\\n"
known = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
for name, like in sorted(wanted["same"].items()):
    wanted["digits"].pop(name, None)
for name, digits in sorted(wanted["digits"].items()):
    if name not in known:
        known[name] = '"%s"' % secrets.token_hex(digits // 2)
        text += "%s=%s\\n" % (name, known[name])
for name, like in sorted(wanted["same"].items()):
    if name not in known and like in known:
        text += "%s=%s\\n" % (name, known[like])
new = path + ".new"
with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
    os.fchmod(file.fileno(), 0o600)
    file.write(text)
    file.flush()
    os.fsync(file.fileno())
os.replace(new, path)
"""


@operation()
def secrets(
    path: str, digits: Mapping[str, int], same: Mapping[str, str] | None = None
) -> Commands:
    """Have an environment file at `path`, 0600, with a random value for each name of `digits`.

    `digits` is how many hexadecimal ones a value has; a name of `same` gets the value of the name
    it maps to. What the file has already stays as it is, needed or not.
    """
    names = host.get_fact(Names, path=path)
    node = host.get_fact(Tree, paths=[path]).get(path)
    missing = sorted({*digits, *(same or {})} - set(names))
    fits = node is not None and (node.kind, node.mode, node.user) == ("file", "600", "root")
    if fits and not missing:
        host.noop(f"{path} has its {len(digits) + len(same or {})} secrets")
        return
    before = None if node is None else f"{len(names)} secrets, mode {node.mode}"
    after = f"{', '.join(missing)} made up" if missing else "mode 0600"
    note(Change("file", path, before, after, secret=True))
    yield StringCommand(
        "umask 077 && python3 -c",
        QuoteString(_MAKE),
        "&& chown root:root",
        QuoteString(path),
        _stdin=json.dumps({"path": path, "digits": dict(digits), "same": dict(same or {})}),
    )
