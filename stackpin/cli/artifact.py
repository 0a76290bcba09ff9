"""`stackpin artifact`: what a release ships, made or fetched ahead of a deploy."""

# ruff: noqa: D301, PLC0415 -- click wants a real \b; imports on use keep --help fast

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from stackpin.cli.default_group import default_group
from stackpin.cli.options import Target, reporting, target
from stackpin.cli.output import Output

if TYPE_CHECKING:
    from stackpin.artifacts import Resolved

__all__ = ["artifact"]


@default_group("build")
def artifact() -> None:
    """Build or fetch what a release ships, and look after the cache of it.

    Sources are files, downloads, builds of a Git commit, and images: each is proven, made once, and
    kept in ~/.cache/stackpin/artifacts. A deploy does this by itself.

    \b
    Examples:
      stackpin artifact inventories/prod crm
      stackpin artifact inventories/prod crm --version v1.2.0 --json
      stackpin artifact show
    """


@artifact.command()
@click.option("--version", help="Another version than the pinned one, vX.Y.Z.")
@target
def build(out: Output, target: Target, *, version: str | None) -> None:
    """Build or fetch the artifacts of STACK; print each file's SHA-256, and the commit.

    No host is asked, and none of the inventory's hosts builds.

    \b
    Examples:
      stackpin artifact build inventories/prod crm
      stackpin artifact build inventories/prod crm --version v1.2.0 --json
    """
    from stackpin.config.stacks import stack
    from stackpin.rollout.making import made

    found = made(
        target.inventory, stack(target.stack), target.limit, target.data, version, out.note
    )
    for pinned, one in found:
        out.line(f"{pinned}: {_described(one)}{' (from the cache)' if one.cached else ''}")
        for name, output in one.outputs.items():
            out.line(f"  {output.sha256}  {name} ({output.size} bytes)")
        out.line(f"  in {one.path}")
    out.document(
        {
            "artifacts": [
                {**one.as_json(), "version": pinned, "path": str(one.path), "cached": one.cached}
                for pinned, one in found
            ]
        }
    )


@artifact.command()
@reporting
def show(out: Output) -> None:
    """Show what the cache has, the entry used last first.

    \b
    Example:
      stackpin artifact show --json
    """
    from stackpin.artifacts import Cache

    entries = Cache().entries()
    rows = []
    for one in entries:
        size = sum(output.size for output in one.outputs.values())
        digest = str(one.provenance["inputs_digest"])[:12]
        built = str(one.provenance["built_at"])
        rows.append([digest, built, _described(one), str(len(one.outputs)), f"{size / 1e6:.1f}"])
    out.table(["entry", "made", "from", "files", "MB"], rows)
    out.document({"entries": [{**one.as_json(), "path": str(one.path)} for one in entries]})


@artifact.command()
@click.option(
    "--days",
    default=90.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Remove what was not used for so long.",
)
@reporting
def prune(out: Output, *, days: float) -> None:
    """Remove entries, clones and build logs that were not used for a while.

    What is needed again is fetched and built again.

    \b
    Example:
      stackpin artifact prune --days 30
    """
    from stackpin.artifacts import Cache

    gone = Cache().prune(days)
    for name in gone:
        out.line(f"removed {name}")
    out.line(f"{len(gone)} removed")
    out.document({"removed": gone})


def _described(found: Resolved) -> str:
    """Return one line on where an artifact came from."""
    told = found.provenance
    if told["kind"] == "git":
        return f"{told.get('repo', 'commit')} {told.get('ref', '')} at {told['commit']}"
    return str(told.get("url") or told.get("image") or told.get("path"))
