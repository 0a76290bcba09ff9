"""`stackpin check`."""

# ruff: noqa: D301 -- click wants a real \b

from __future__ import annotations

import click

from stackpin.cli.options import Target, target
from stackpin.cli.output import Output

__all__ = ["check"]


@click.command()
@target
def check(out: Output, target: Target) -> None:
    """Validate INVENTORY and the variables of STACK; no host is asked.

    Tells every problem at once: file, variable, host, what was found and expected, what to do. When
    all is well it says which version and artifact it accepted.

    \b
    Examples:
      stackpin check inventories/prod site
      stackpin check inventories/prod crm --limit web1 --json
    """
    from stackpin.config.problems import ConfigProblems  # noqa: PLC0415 - see cli/__init__
    from stackpin.config.stacks import stack  # noqa: PLC0415
    from stackpin.rollout.checking import check_inventory  # noqa: PLC0415

    out.document({"inventory": target.inventory, "stack": target.stack, "problems": []})
    try:
        checked = check_inventory(
            target.inventory, stack(target.stack), target.limit, target.data, progress=out.note
        )
    except ConfigProblems as error:
        problems = [vars(problem) for problem in error.problems]
        others = [{"found": text} for text in getattr(error, "others", ())]
        out.document({"problems": [*problems, *others]})
        raise
    out.document({"hosts": list(checked.settings)})
    accepted = {
        host: {
            part: {
                "version": one.version,
                "path": one.shown,
                "sha256": one.sha256,
                "size": one.size,
            }
            for part, one in parts.items()
        }
        for host, parts in checked.artifacts.items()
    }
    out.document({"artifacts": accepted})
    out.line(f"{target.inventory}: {target.stack} is valid for {len(checked.settings)} host(s)")
    lines = [
        f"{part} {one['version']}: {one['path']}, {one['size']} bytes, SHA-256 {one['sha256']}"
        for parts in accepted.values()
        for part, one in parts.items()
    ]
    for line in dict.fromkeys(lines):
        out.line(line)
