"""`stackpin plan`."""

# ruff: noqa: D301 -- click wants a real \b

from __future__ import annotations

import json
from pathlib import Path

import click

from stackpin.cli.exit import Exit
from stackpin.cli.options import Target, target
from stackpin.cli.output import Output
from stackpin.cli.waiting import hosts_shown

__all__ = ["plan"]


@click.command()
@click.option(
    "--out", "file", type=click.Path(path_type=Path), help="Write the plan for deploy --plan."
)
@click.option("--full", is_flag=True, help="Show new files and long diffs whole.")
@target
def plan(out: Output, target: Target, file: Path | None, full: bool) -> int:
    """Show what a deploy of STACK would change on the hosts of INVENTORY; nothing is changed.

    Exit code 0: in sync; 2: changes pending. Secrets are never shown, nor written to --out.

    \b
    Examples:
      stackpin plan inventories/prod site
      stackpin plan inventories/prod site --out plan.json
    """
    from stackpin.cli.show_plan import show_plan  # noqa: PLC0415 - see cli/__init__
    from stackpin.config.stacks import stack  # noqa: PLC0415
    from stackpin.engine.plan import make_plan  # noqa: PLC0415
    from stackpin.engine.session import open_session  # noqa: PLC0415
    from stackpin.rollout.checking import check_inventory  # noqa: PLC0415
    from stackpin.rollout.connecting import left_out  # noqa: PLC0415
    from stackpin.rollout.preflighting import ask_hosts, complain  # noqa: PLC0415

    chosen = stack(target.stack)
    checked = check_inventory(
        target.inventory, chosen, target.limit, target.data, progress=out.note
    )
    files = {part.name: part.deploys for part in chosen.components()}
    places = {host: tuple(parts) for host, parts in checked.settings.items()}
    opened = open_session(
        target.inventory,
        target.limit,
        target.data,
        partial=chosen.tolerates_unreachable,
        stack=chosen,
    )
    with hosts_shown(as_json=out.as_json), opened as session:
        away = left_out(session, places)
        complain(ask_hosts(session, checked.settings, checked.artifacts, files, target.data))
        made = make_plan(session, chosen.name, files, target.data, places)
    document = made.to_json()
    out.document({"plan": document, **({"unreachable": away} if away else {})})
    for message in away.values():
        out.note(f"not planned: {message}")
    if not out.as_json:
        show_plan(out, made, full=full)
    if file is not None:
        _write(file, document)
        out.note(
            f"{file}: apply it with `stackpin deploy {target.inventory} {target.stack} "
            f"--plan {file}`"
        )
    return Exit.OK if made.in_sync and not away else Exit.CHANGES


def _write(file: Path, document: dict[str, object]) -> None:
    draft = file.with_name(f".{file.name}.new")
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    draft.replace(file)
