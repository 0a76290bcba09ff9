"""A pyinfra host whose facts are given by hand."""

import json
from contextlib import contextmanager
from types import SimpleNamespace

from pyinfra.context import ctx_host

from facts.files import Node
from operations import notes
from operations.entries import File, Link

TOKEN = "tok $&|/\"'\\ en-of-the-admin"


class FakeHost:
    name = "relay1"
    current_op_hash = "op1"

    def __init__(self, facts, *, takes_files=False, **data):
        # Stackpin's connector takes a file as standard input, pyinfra's own does not.
        self.connector = SimpleNamespace(takes_files=True) if takes_files else object()
        self.facts, self.data, self.connector_data, self.noops = facts, data, {}, []

    def get_fact(self, fact, **kwargs):
        value = self.facts.get(fact, fact.default())
        return value(**kwargs) if callable(value) else value

    def noop(self, text):
        self.noops.append(text)


@contextmanager
def on_host(facts, **data):
    fake = FakeHost(facts, **data)
    notes.reset()
    with ctx_host.use(fake):
        yield fake


def run(op, facts, data=None, **arguments):
    """Commands, notes and noops of one operation."""
    with on_host(facts, **(data or {})) as host:
        commands = list(op._inner(**arguments))
        return commands, notes.collect().get(("relay1", "op1"), []), host.noops


def stdin(command):
    return json.loads(command.connector_arguments["_stdin"])


def node_of(entry):
    if isinstance(entry, Link):
        return Node("link", "777", "root", "root", 1, entry.target)
    kind = "file" if isinstance(entry, File) else "directory"
    sha = entry.sha256 if isinstance(entry, File) else None
    return Node(kind, entry.mode.lstrip("0"), entry.user, entry.group, 1, None, sha)
