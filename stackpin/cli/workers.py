"""`stackpin workers`: the nodes of the XingRin fleet."""

# ruff: noqa: D301, PLC0415 -- click wants a real \b; imports on use keep --help fast

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from stackpin.cli.options import Target, assume_yes, confirm
from stackpin.cli.output import Output
from stackpin.cli.rolling import Asked, conduct
from stackpin.cli.workers_options import SERVER, STACK, WORKER, fleet_target, rolling_nodes
from stackpin.cli.workers_watch import watch
from stackpin.errors import Refused

if TYPE_CHECKING:
    from stackpin.fleet.decide import Decision
    from stackpin.fleet.hosts import HostFleet
    from stackpin.rollout.model import Run


@click.group()
def workers() -> None:
    """List, add, remove and update the nodes of XingRin.

    A node's state is computed from what runs on it and from its heartbeat at the server.

    \b
    Examples:
      stackpin workers list inventories/prod
      stackpin workers watch inventories/prod --metrics 127.0.0.1:9642
    """


workers.add_command(watch)


@workers.command("list")
@fleet_target
def list_(out: Output, target: Target) -> int:
    """Show every node: its state, what it runs, its last heartbeat, and why.

    Nodes that only the server knows are shown too. Ends with 1 when the server cannot be asked.

    \b
    Examples:
      stackpin workers list inventories/prod
      stackpin workers list inventories/prod --json
    """
    from stackpin.fleet.hosts import HostFleet
    from stackpin.fleet.states import judge
    from stackpin.fleet.telling import node_row

    with HostFleet(target.inventory, (), target.data) as fleet:
        seen = fleet.observe()
    judged = {node.name: judge(seen.want, node, seen.ttl) for node in seen.nodes}
    columns = ("node", "id", "state", "runs", "digest", "heartbeat", "cpu/mem %", "why")
    out.table(columns, [node_row(node, judged[node.name]) for node in seen.nodes])
    if seen.server.problem:
        out.note(f"stackpin: {seen.server.problem}")
    out.document(
        {
            "wanted": vars(seen.want),
            "server": vars(seen.server),
            "workers": [{**node.as_json(), **vars(judged[node.name])} for node in seen.nodes],
        }
    )
    return 1 if seen.server.problem else 0


@workers.command()
@rolling_nodes
@click.argument("host")
def add(out: Output, target: Target, asked: Asked, host: str) -> int:
    """Install the agent on HOST: registers it at the server and rolls the worker part out on it.

    The host must be in the inventory's group `workers`. The server's firewall is opened for it
    first, with whatever else the server's plan has; a plan that would switch the server itself is
    refused. Other nodes are not touched.

    \b
    Example:
      stackpin workers add inventories/prod node7
    """
    from stackpin.config.stacks import STACKS
    from stackpin.engine.state import load_inventory
    from stackpin.rollout.performing import perform

    inventory = load_inventory(target.inventory, target.data)
    group = STACKS[WORKER].group or ""
    known = sorted(member.name for member in inventory.groups.get(group, []))
    if host not in known:
        raise Refused(
            f"{target.inventory}: found no host {host!r} in the group {group!r} (it has "
            f"{', '.join(known) or 'none'}); expected it there: add a line for it and try again"
        )
    server = [member.name for member in inventory.groups.get(STACKS[SERVER].group or "", [])]
    both = Target(target.inventory, STACK, (*server, host), target.data)
    return conduct(out, both, {**asked, "batches": ("1",)}, perform, _server_stays)


def _server_stays(run: Run) -> None:
    """Refuse a plan that does more to the server than to let a node in."""
    for roll in run.rolls:
        if roll.part == SERVER and roll.switches:
            raise Refused(
                f"{roll.host}: the server serves {roll.now or 'nothing'} and would be switched to "
                f"{roll.wanted}; expected it as declared before a node is added. Nothing was "
                f"touched. Run `stackpin deploy {run.request.inventory} {SERVER}` first."
            )


@workers.command()
@click.option("--batch", default="1,10%", show_default=True, help="Batch sizes in turn.")
@click.option("--max-failures", default=0, show_default=True, help="Nodes that may fail.")
@rolling_nodes
def reconcile(out: Output, target: Target, asked: Asked, *, batch: str, max_failures: int) -> int:
    """Bring every node that differs to what is pinned, once; nodes in order are not touched.

    Nodes that cannot be reached are named and left alone: the exit code is 2 then. The server must
    run the pinned version already. Nodes without an agent get one, as with `add`.

    \b
    Examples:
      stackpin workers reconcile inventories/prod
      stackpin workers reconcile inventories/prod --yes --batch 1,25%
    """
    from stackpin.fleet.decide import Policy, decide
    from stackpin.fleet.hosts import HostFleet
    from stackpin.fleet.states import ONLINE
    from stackpin.rollout.rolling import parse_batches

    asked = {**asked, "batches": parse_batches(batch), "max_failures": max_failures}
    with HostFleet(target.inventory, (), target.data) as fleet:
        seen = fleet.observe()
        every = Policy(batch=len(seen.nodes), install=True)
        decision = decide(seen, {}, 0.0, every)
        if decision.halted:
            raise Refused(f"{decision.halted}; no node was touched")
        for name, why in decision.waiting.items():
            out.line(f"{name}: {decision.states[name].reason}; left alone: {why}")
        left = [name for name, one in decision.states.items() if one.state != ONLINE]
        out.document({"left": decision.waiting})
        if not decision.update:
            out.line("no node differs" if not left else "nothing can be done now")
            return 2 if left else 0
        code = _roll(out, target, asked, fleet, decision)
    done = {node.name for node in decision.update}
    return code or (2 if set(left) - done else 0)


def _roll(out: Output, target: Target, asked: Asked, fleet: HostFleet, decision: Decision) -> int:
    """Roll out the nodes of `decision`, holding their leases in Redis where that is set."""
    from stackpin.rollout.performing import perform

    for node in decision.update:
        out.line(f"{node.name}: {decision.states[node.name].reason}")
    with fleet.leases(decision.update) as held:
        held.taken_over = lambda name, why: out.note(
            f"{name}: {why}, who works on it too now; Ctrl-C takes this update back"
        )
        for name, why in held.refused.items():
            out.line(f"{name}: left alone: {why}")
        if not held.nodes:
            raise Refused("nothing was touched: somebody else holds the lease of every node")
        limit, name = tuple(held.nodes), WORKER
        if not all(node.installed for node in held.nodes.values()):
            # The server's firewall does not know a new node yet.
            limit, name = (fleet.layout.server, *limit), STACK
        only = Target(target.inventory, name, limit, target.data)
        code = conduct(out, only, asked, perform, _server_stays)
    for name, why in held.lost.items():
        out.note(f"{name}: its lease was lost meanwhile: {why}")
    return code or (2 if held.refused or held.lost else 0)


@workers.command()
@fleet_target
@click.argument("host")
@click.option("--gone", is_flag=True, help="The host is lost: only forget it at the server.")
@assume_yes
def remove(out: Output, target: Target, host: str, *, gone: bool, yes: bool) -> int:
    """Take HOST out of the fleet: forget it at the server, then remove the agent from it.

    Lists exactly what will go and what stays, and asks. Only containers and files that Stackpin
    made go, found by label and by path; Docker itself and other containers stay. A host that also
    carries the server is refused, as both share one directory.

    \b
    Examples:
      stackpin workers remove inventories/prod node7
      stackpin workers remove inventories/prod node7 --gone
    """
    from stackpin.fleet.hosts import HostFleet
    from stackpin.fleet.removing import Removal

    with HostFleet(target.inventory, (), target.data) as fleet:
        removal = Removal.look(fleet, host, gone=gone)
        for line in removal.lines():
            out.line(line)
        out.document({"listed": removal.as_json()})
        if not removal.anything:
            out.line("nothing to remove")
            return 0
        confirm(out, f"Remove {host} as listed?", yes=yes, expect=host)
        done = removal.do(fleet.session, out.line)
    out.document({"removed": done})
    out.line(f"Now take {host} out of the group of {target.inventory}, or it is added again.")
    return 0
