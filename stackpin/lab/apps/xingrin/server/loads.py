"""Who is alive: one short-lived key per worker in Redis, and the lock of an update."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from .resp import Redis

__all__ = ["LOCK_SECONDS", "TTL_SECONDS", "Loads", "RedisLoads"]

TTL_SECONDS = 15
LOCK_SECONDS = 60


class Loads(Protocol):
    """What the rest of the server needs of Redis."""

    def beat(self, worker: int, cpu: object, mem: object) -> None:
        """Note a heartbeat; forgotten after TTL_SECONDS."""
        ...

    def of(self, workers: Sequence[int]) -> dict[int, dict[str, float]]:
        """Return {cpu, mem} of those workers that are online."""
        ...

    def forget(self, worker: int) -> None:
        """Remove a worker's key."""
        ...

    def lock_update(self, worker: int) -> bool:
        """Take the update lock of a worker; False when it is held."""
        ...

    def unlock_update(self, worker: int) -> None:
        """Give the update lock back, whoever holds it: that is the real server's habit."""
        ...


class RedisLoads:
    """The real one."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def beat(self, worker: int, cpu: object, mem: object) -> None:
        """Write the hash and its life time together."""
        key = f"worker:load:{worker}"
        # Local time without a zone, as the real server writes it.
        updated = datetime.now().isoformat()
        self._redis.run(
            ("MULTI",),
            ("HSET", key, "cpu", cpu, "mem", mem, "updated", updated),
            ("EXPIRE", key, TTL_SECONDS),
            ("EXEC",),
        )

    def of(self, workers: Sequence[int]) -> dict[int, dict[str, float]]:
        """Ask for all keys in one round trip."""
        replies = self._redis.run(*(("HGETALL", f"worker:load:{worker}") for worker in workers))
        found = {}
        for worker, reply in zip(workers, replies, strict=True):
            if reply:
                fields: dict[str, Any] = dict(zip(reply[::2], reply[1::2], strict=True))
                found[worker] = {name: _number(fields.get(name)) for name in ("cpu", "mem")}
        return found

    def forget(self, worker: int) -> None:
        """Delete the key at once."""
        self._redis.run(("DEL", f"worker:load:{worker}"))

    def lock_update(self, worker: int) -> bool:
        """SET NX EX, without a token: see `unlock_update`."""
        command = ("SET", f"agent_update_lock:{worker}", "1", "NX", "EX", LOCK_SECONDS)
        return self._redis.run(command)[0] is not None

    def unlock_update(self, worker: int) -> None:
        """Delete the key."""
        self._redis.run(("DEL", f"agent_update_lock:{worker}"))


def _number(text: object) -> float:
    try:
        return float(str(text))
    except ValueError:
        return 0.0
