"""A drift check of one shard of the hosts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stackpin.care.check import check_drift
from stackpin.config import stacks
from stackpin.drift.report import DriftReport
from stackpin.drift.shards import Shard
from stackpin.engine.placing import chosen
from stackpin.engine.state import load_inventory, select_hosts
from stackpin.errors import Refused

__all__ = ["check_shard"]


def check_shard(
    inventory: str, stack: str, limit: Sequence[str], data: Mapping[str, Any], shard: Shard
) -> DriftReport:
    """Return the drift of the hosts that are `shard`'s; of the others nothing is looked at."""
    loaded = load_inventory(inventory, data)
    among = sorted(chosen(loaded, stacks.stack(stack), limit, inventory))
    own = shard.of(among)
    if not own:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        notes = (f"no host falls to shard {shard}: there are {len(among)}",)
        report = DriftReport(Path(inventory).stem, stack, now, {}, notes)
    elif len(select_hosts(loaded, own, inventory)) != len(own):
        raise Refused(
            f"{inventory}: a group and a host have the same name, so one cannot be asked without "
            "the other: rename the group"
        )
    else:
        report = check_drift(inventory, stack, own, data)
    return replace(report, shard=str(shard), among=tuple(among))
