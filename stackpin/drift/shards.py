"""Split hosts over the jobs of a CI matrix: the same hosts to the same job wherever it is asked."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Collection
from dataclasses import dataclass

from stackpin.errors import Refused

__all__ = ["Shard", "split"]


@dataclass(frozen=True)
class Shard:
    """One of `count` shares of the hosts, counted from 1; its text is "2/4"."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read "2/4"; Refused for anything else."""
        match = re.fullmatch(r"([1-9][0-9]{0,4})/([1-9][0-9]{0,4})", text)
        if match is None or int(match[1]) > int(match[2]):
            raise Refused(
                f"shard {text!r}: expected I/N, such as 2/4 for the second of four shares, with I "
                "from 1 to N"
            )
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def of(self, names: Collection[str]) -> list[str]:
        """Return the names that are this shard's, sorted."""
        return sorted(split(names, self.count)[self.index - 1])


def split(names: Collection[str], count: int) -> list[list[str]]:
    """Return the names in `count` shards, each in one, the sizes at most one apart.

    A name more or less moves few others: for each a shard is drawn by hash, and drawn again only
    when that one is full.
    """
    least, larger = divmod(len(names), count)
    shards: list[list[str]] = [[] for _ in range(count)]
    for name in sorted(names, key=lambda name: (_hash(name), name)):
        for attempt in itertools.count():
            drawn = shards[_hash(f"{attempt} {name}") % count]
            if len(drawn) < least or (larger and len(drawn) == least):
                larger -= len(drawn) == least
                drawn.append(name)
                break
    return shards


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest())
