"""nginx configuration that never replaces a good one by a bad one."""

from __future__ import annotations

from collections.abc import Sequence

from pyinfra.api.operation import operation
from pyinfra.context import host

from facts.files import Tree
from facts.nginx import DEFAULT_LINK, PackagedDefaultSite
from facts.stacks import StackState
from operations.entries import File, Link
from operations.files import note_entries, unfit
from operations.notes import Change, note
from operations.program import Commands, call


@operation()
def site(
    stack: str, files: Sequence[File], links: Sequence[Link], ports: Sequence[int]
) -> Commands:
    """Put `files` below /etc/nginx and enable them by `links`.

    The host program tries them with `nginx -t` on a staged copy of /etc/nginx, and only then
    replaces them and reloads; what nginx refuses changes nothing. Debian's default site gives way
    when it listens on one of `ports` and is exactly as packaged.
    """
    entries: list[File | Link] = [*files, *links]
    present = host.get_fact(Tree, paths=[entry.path for entry in entries])
    packaged = host.get_fact(PackagedDefaultSite)
    in_the_way = sorted(set(packaged) & set(ports))
    wrong = unfit(entries, present)
    # Files that were replaced by a run killed before its reload are not what nginx works with.
    due = bool(host.get_fact(StackState, stack=stack).get("nginx_reload_pending"))
    if not wrong and not in_the_way and not due:
        host.noop(f"nginx has the site of {stack}")
        return
    note_entries(wrong, present)
    if due:
        note(Change("service", "nginx", "a reload is due", "reloaded"))
    if in_the_way:
        note(Change("link", DEFAULT_LINK, f"Debian's untouched default site on {in_the_way}", None))
    yield call("nginx-apply", stack, payload(files, links, [DEFAULT_LINK] if in_the_way else []))


def payload(
    files: Sequence[File], links: Sequence[Link], disable: Sequence[str] = ()
) -> dict[str, object]:
    """Build the request of the host program's `nginx-test` and `nginx-apply`."""
    return {
        "files": {file.path: file.content for file in files},
        "enable": {link.path: link.target for link in links},
        "disable": list(disable),
    }
