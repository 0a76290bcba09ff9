"""The Git work tree a service publishes into."""

from __future__ import annotations

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from facts.git import WorkTree, WorkTreeInfo
from operations.notes import Change, note
from operations.program import Commands


def problem(info: WorkTreeInfo, create: bool) -> str | None:
    """Tell why the path cannot be the publish repository as it is, or None.

    Only an absent path is ever created: what lies there already is someone's.
    """
    if info.closed:
        return f"{info.closed}, a folder that the service cannot pass through,"
    if info.is_work_tree or (create and info.kind == "absent"):
        return None
    if info.kind == "absent":
        return "nothing there"
    if info.kind != "directory":
        return "something that is not a directory"
    if info.top:
        return f"a folder inside the Git work tree {info.top}"
    return "a directory that is not a Git work tree"


@operation()
def work_tree(path: str, user: str, create: bool = True) -> Commands:
    """Make sure of a Git work tree at `path`, all of it owned by `user`.

    With `create`, an absent one is made with an empty first commit. An existing one keeps its
    history and settings; only files owned by others are handed to `user`, because Git refuses
    to work in a tree of someone else.
    """
    info = host.get_fact(WorkTree, path=path, user=user)
    directory, owner = QuoteString(path), QuoteString(user)
    if info.kind == "absent" and create:
        note(Change("repository", path, None, f"empty Git work tree of {user}"))
        as_user = StringCommand("runuser -u", owner, "-- git -C", directory)
        yield StringCommand(
            StringCommand("install -d -m 0755 -o", owner, "-g", owner, directory),
            StringCommand("&&", as_user, "-c init.defaultBranch=main init -q"),
            StringCommand("&&", as_user, "config user.name", owner),
            StringCommand("&&", as_user, 'config user.email "$(hostname -s)@localhost"'),
            StringCommand("&&", as_user, "commit -q --allow-empty -m 'Start of the repository'"),
        )
        return
    if info.is_work_tree and info.owner == user and info.foreign is None:
        host.noop(f"{path} is a Git work tree of {user}")
        return
    before = f"owned by {info.owner}" if info.owner != user else f"{info.foreign} is not {user}'s"
    note(Change("repository", path, before, f"owned by {user}"))
    yield StringCommand("chown -hR", StringCommand(owner, ":", owner, _separator=""), directory)
