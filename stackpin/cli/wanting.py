"""The options that say which version `update`, `upgrade` and `pin` mean."""

from __future__ import annotations

import functools
from collections.abc import Callable

import click

__all__ = ["pinning", "wanting"]

Body = Callable[..., int | None]


def wanting(body: Body) -> Body:
    """Give a command the ways to name a version.

    Called with `wanted` (a rollout.wanted.Wanted), `allow_downgrade` and `refresh`, both bool.
    """

    @click.option("--version", metavar="vX.Y.Z", help="The version to pin.")
    @click.option(
        "--latest",
        is_flag=True,
        help="The newest release, no pre-release: of the registry, the files or the Git tags.",
    )
    @click.option("--from-git", metavar="REPO", help="The highest vX.Y.Z tag of a Git repository.")
    @click.option("--from-version-file", metavar="FILE", help="The version a file says.")
    @pinning
    @functools.wraps(body)
    def with_version(
        *args: object,
        version: str | None,
        latest: bool,
        from_git: str | None,
        from_version_file: str | None,
        **options: object,
    ) -> int | None:
        from stackpin.rollout.wanted import Wanted  # noqa: PLC0415 - see cli/__init__

        wanted = Wanted(version, latest, from_git, from_version_file)
        return body(*args, wanted=wanted, **options)

    return with_version


def pinning(body: Body) -> Body:
    """Give a command --allow-downgrade and --refresh, passed on as bool."""
    downgrade = click.option(
        "--allow-downgrade", is_flag=True, help="Accept a version older than the pin."
    )
    refresh = click.option(
        "--refresh", is_flag=True, help="Lock base images (PostgreSQL, Redis) anew as well."
    )
    done: Body = downgrade(refresh(body))
    return done
