"""One question preflight asks, and what was found."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Item"]


class Item(NamedTuple):
    """`measured` against `expected`; of severity fail it stops the deploy, of warn it does not."""

    name: str
    ok: bool
    measured: str
    expected: str
    remedy: str = ""
    severity: str = "fail"
