"""The page of the benchmarks: a section each, replaced one at a time."""

from __future__ import annotations

import datetime
import os
import platform
import re
from collections.abc import Sequence

__all__ = ["INTRODUCTION", "measured", "replaced"]

INTRODUCTION = """\
# Benchmarks

Written by `make bench`; `make bench ONLY=NAME` measures one of them again and leaves the others.
"""


def measured() -> str:
    """Say when and on which machine, in a line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"Measured on {datetime.date.today():%Y-%m-%d}: {os.cpu_count()} cores, "
        f"{memory:.0f} GiB, Linux {platform.release().split('-')[0]}, "
        f"Python {platform.python_version()}; hosts and operator share these cores."
    )


def replaced(page: str, section: Sequence[str]) -> str:
    """Return `page` with `section`, whose first line is "## " and its title, in place of its old.

    A section that is not there yet goes to the end.
    """
    kept = re.split(r"(?m)^(?=## )", page)[1:]
    titles = [text.partition("\n")[0] for text in kept]
    new = "\n".join(section).strip() + "\n\n"
    if section[0] in titles:
        kept[titles.index(section[0])] = new
    else:
        kept.append(new)
    parts = (INTRODUCTION.strip(), *(text.strip() for text in kept))
    return "\n\n".join(parts) + "\n"
