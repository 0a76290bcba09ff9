"""Files, directories and links, many paths in one command."""

# ruff: noqa: D102 - what default, command and process do is told once, by pyinfra
from __future__ import annotations

import base64
import binascii
import shlex
from dataclasses import dataclass

from pyinfra.api.facts import FactBase

TEXT_LIMIT = 262_144  # a diff of more than this helps nobody


@dataclass(frozen=True)
class Node:
    """What lies at a path. `mode` is octal text without leading zeros, e.g. "644"."""

    kind: str  # file | directory | link | other
    mode: str
    user: str
    group: str
    size: int
    target: str | None = None
    sha256: str | None = None


KINDS = {"f": "file", "d": "directory", "l": "link"}


class Tree(FactBase[dict[str, Node]]):
    """Path -> Node for those of `paths` that exist; links are not followed."""

    @staticmethod
    def default() -> dict[str, Node]:
        return {}

    def command(self, paths: list[str]) -> str:
        if not paths:
            return "true"
        names = " ".join(shlex.quote(path) for path in paths)
        return (
            f"find {names} -maxdepth 0 -printf '%y\\t%m\\t%u\\t%g\\t%s\\t%p\\t%l\\n' 2>/dev/null;"
            f" find {names} -maxdepth 0 -type f -exec sha256sum {{}} + 2>/dev/null; true"
        )

    def process(self, output: list[str]) -> dict[str, Node]:
        nodes: dict[str, Node] = {}
        hashes: dict[str, str] = {}
        for line in output:
            bits = line.split("\t")
            if len(bits) == 7:
                kind, mode, user, group, size, path, target = bits
                nodes[path] = Node(
                    KINDS.get(kind, "other"), mode, user, group, int(size), target or None
                )
            else:
                digest, _, path = line.partition("  ")
                hashes[path] = digest
        return {
            path: Node(n.kind, n.mode, n.user, n.group, n.size, n.target, hashes.get(path))
            for path, n in nodes.items()
        }


class Texts(FactBase[dict[str, str]]):
    """Path -> text of those of `paths` that are readable files (the first 256 KiB of each)."""

    @staticmethod
    def default() -> dict[str, str]:
        return {}

    def command(self, paths: list[str]) -> str:
        parts = []
        for path in paths:
            name = shlex.quote(path)
            parts.append(
                f"if [ -f {name} ]; then printf '%s\\t' {name};"
                f" head -c {TEXT_LIMIT} {name} | base64 -w0; echo; fi"
            )
        return "; ".join([*parts, "true"])

    def process(self, output: list[str]) -> dict[str, str]:
        texts = {}
        for line in output:
            path, _, body = line.partition("\t")
            try:
                texts[path] = base64.b64decode(body, validate=True).decode(errors="replace")
            except binascii.Error:
                continue
        return texts
