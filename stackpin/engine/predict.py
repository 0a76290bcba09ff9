"""What an operation will do, after the prepare stage: resolving conditions pyinfra leaves open."""

from __future__ import annotations

from pyinfra.api.host import Host
from pyinfra.api.operation import OperationMeta
from pyinfra.api.state import State

__all__ = ["verdict"]


def verdict(state: State, host: Host, op_hash: str) -> str:
    """Return change, no-change or conditional for one operation on one host.

    `_if=other.did_change` is followed: it is certain when the other operation's verdict is.
    """
    data = state.ops[host].get(op_hash)
    if data is None or not data.operation_meta._maybe_is_change:
        return "no-change"
    conditions = data.global_arguments.get("_if") or []
    answer = "change"
    for condition in conditions if isinstance(conditions, list) else [conditions]:
        others = _operations(condition)
        if others is None:
            answer = "conditional"
            continue
        found = [verdict(state, host, other._hash) for other in others]
        if all(one == "no-change" for one in found):
            return "no-change"
        if "change" not in found:
            answer = "conditional"
    return answer


def _operations(condition: object) -> list[OperationMeta] | None:
    """Return the operations whose `did_change` the condition is, or None for anything else."""
    if getattr(condition, "__name__", "did_change") != "did_change":
        return None
    several = getattr(condition, "ops", None)
    if several is not None:
        return list(several)
    one = getattr(condition, "__self__", None)
    return [one] if isinstance(one, OperationMeta) else None
