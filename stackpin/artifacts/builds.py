"""Artifacts built from a Git commit: once for the same inputs, then from the cache."""

from __future__ import annotations

import platform
import socket
import subprocess
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from stackpin.artifacts.building import Builder, Here, environment, run_build, tool_versions
from stackpin.artifacts.cache import Cache, digest_of
from stackpin.artifacts.commits import Repository
from stackpin.artifacts.model import Resolved, Say
from stackpin.artifacts.outside import build_host
from stackpin.config.mirrors import Mirrors, mirrors
from stackpin.config.sources import GitSource
from stackpin.errors import Refused

__all__ = ["build"]


def build(
    source: GitSource, root: Path, cache: Cache, say: Say, production: Collection[str]
) -> Resolved:
    """Return the outputs of `source`, building them where the cache has none.

    `production` are names and addresses of hosts that must not build. Raises Refused.
    """
    _require_no_production(source, production)
    repository = Repository(source.repo, root, cache, say)
    commit = repository.commit(source.ref)
    chosen = mirrors(source.mirrors)
    inputs = {
        "kind": "git",
        "commit": commit,
        "submodules": source.submodules,
        "build": source.build,
        "outputs": source.outputs,
        "env": source.env,
        "mirrors": chosen.build_env(),
        # The architecture of a build host is known only when it is asked: its name stands for it.
        "where": source.build_host or f"{platform.system()} {platform.machine()}",
    }
    named = {"repo": source.repo, "ref": source.ref}
    what = f"{source.repo} {source.ref} ({commit[:12]})"

    def make(files: Path, work: Path) -> dict[str, Any]:
        tree = repository.check_out(commit, work / "source", submodules=source.submodules)
        with _builder(source, tree.path, work, chosen) as builder:
            env = environment(builder, tree.time, chosen.build_env(), source.env)
            log = cache.folder("logs") / f"{digest_of(inputs)}.log"
            run_build(builder, source.build, env, log, what, say)
            builder.fetch(source.outputs, files, what)
            tools = tool_versions(builder, source.build, env)
        return {
            "kind": "git",
            **named,
            "commit": commit,
            "submodules": tree.submodules,
            "build": source.build,
            "env": sorted(source.env),
            "mirrors": chosen.build_env(),
            "build_host": source.build_host,
            "architecture": tools.pop("arch", ""),
            "builder": tools,
        }

    kept = cache.keep(inputs, make, what, say)
    # Another repository or reference may have led to the same commit before.
    return replace(kept, provenance={**kept.provenance, **named})


@contextmanager
def _builder(source: GitSource, tree: Path, work: Path, chosen: Mirrors) -> Iterator[Builder]:
    (work / "home").mkdir()
    if source.build_host is None:
        (work / "home/.npmrc").write_text(chosen.npmrc())
        yield Here(tree, work)
        return
    with build_host(source.build_host, tree) as there:
        there.put_home(".npmrc", chosen.npmrc())
        yield there


def _require_no_production(source: GitSource, production: Collection[str]) -> None:
    """Refuse to build where the result will run: a build runs whatever the commit says."""
    known = {name.lower() for name in production}
    if source.build_host is None:
        if "@local" in known:
            raise Refused(
                "build: found this machine among the inventory's hosts (@local), expected another "
                "one to build on. Set build_host, or deploy from another machine."
            )
        return
    name = source.build_host.rpartition("@")[2].lower()
    same = known & {name, *_addresses(name)} or _all_addresses(known) & _addresses(name)
    if same:
        raise Refused(
            f"build_host {source.build_host}: found a host of this inventory, expected one that "
            "serves nothing: a build runs whatever the commit says. Name another machine."
        )


def _all_addresses(names: Collection[str]) -> set[str]:
    return {address for name in names for address in _addresses(name)}


def _addresses(name: str) -> set[str]:
    """Return what `name` stands for: by ssh's configuration, and by DNS where it answers."""
    argv = ["ssh", "-G", "--", name]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    lines = (line.split(maxsplit=1) for line in done.stdout.splitlines())
    real = next((words[1] for words in lines if words[0] == "hostname"), name).lower()
    try:
        found = socket.getaddrinfo(real, None)
    except OSError:
        return {real}
    return {real, *(str(one[4][0]) for one in found)}
