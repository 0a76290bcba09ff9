"""`stackpin notify`: who is told of runs and drift."""

# ruff: noqa: D301, PLC0415 -- click wants a real \b; imports on use keep --help fast

from __future__ import annotations

import click

from stackpin.cli.options import reporting
from stackpin.cli.output import Output
from stackpin.errors import StackpinError


@click.command()
@click.argument("inventory")
@click.option("--test", is_flag=True, help="Send a test message to every address.")
@reporting
def notify(out: Output, inventory: str, *, test: bool) -> int:
    """Show which addresses of INVENTORY are told of runs and drift (stackpin_notify, _notify_on).

    With --test a message is sent to each; exit status 1 when one could not be sent, which during
    a run is only a note.

    \b
    Examples:
      stackpin notify inventories/prod
      stackpin notify inventories/prod --test
    """
    from gevent import monkey

    monkey.patch_all()
    from stackpin.care.messages import messenger
    from stackpin.notify import deliver
    from stackpin.rollout.model import whoami

    teller = messenger(inventory, {})
    events = sorted(teller.on) if teller.refs else []
    if not teller.refs:
        out.line(f"{inventory}: stackpin_notify is empty: nobody is told")
    shown, failed = [], 0
    for ref in teller.refs:
        problem = None
        if test:
            body = f"A test by {whoami()}. Events: {', '.join(events) or 'none'}."
            problem = deliver(ref, "test", f"stackpin: test message of {inventory}", body)
        failed += problem is not None
        word = "is told of " + (", ".join(events) or "nothing")
        out.line(f"{ref}: " + (word if not test else problem or "sent"))
        shown.append({"address": str(ref), "sent": test and problem is None, "problem": problem})
    out.document({"on": events, "addresses": shown})
    if failed:
        raise StackpinError(f"{failed} of {len(shown)} test messages could not be sent")
    return 0
