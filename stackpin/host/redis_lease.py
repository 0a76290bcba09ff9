"""A lease in the application's own Redis: taken with a token, released only by its holder.

The application locks a node's update under the same key, so both never update a node at once.
"""

from __future__ import annotations

import re
from typing import Any

from stackpin.host.drivers import compose_services as services
from stackpin.host.drivers import docker
from stackpin.host.errors import failed, refused
from stackpin.host.stack import Stack

__all__ = ["COMMANDS", "redis", "redis_lease"]

_WORD = re.compile(r"^[A-Za-z0-9_.:@/+-]{1,200}$")
_RENEW = (
    "if redis.call('GET',KEYS[1])==ARGV[1] then return redis.call('EXPIRE',KEYS[1],ARGV[2]) end "
    "return 0"
)
_RELEASE = (
    "if redis.call('GET',KEYS[1])==ARGV[1] then return redis.call('DEL',KEYS[1]) end return 0"
)


def redis_lease(stack: Stack, payload: dict[str, Any]) -> dict[str, Any]:
    """Take, renew, release or show a lease.

    payload: {action: take|renew|release|show, key, token, ttl: whole seconds (default 60)} ->
    {held, token, ttl}. held: take and renew: it is ours now; release: it was ours; show: somebody
    has it. token and ttl (seconds): of whoever has it after the call, or null.
    """
    action, key = str(payload.get("action")), _word(payload.get("key"), "key")
    commands: list[str] = []
    if action != "show":
        token = _word(payload.get("token"), "token")
        ttl = int(payload.get("ttl") or 60)
        commands = {
            # Our own token again is no second holder: a retry after a lost answer succeeds.
            "take": [f"SET {key} {token} NX EX {ttl}", f'EVAL "{_RENEW}" 1 {key} {token} {ttl}'],
            "renew": [f'EVAL "{_RENEW}" 1 {key} {token} {ttl}'],
            "release": [f'EVAL "{_RELEASE}" 1 {key} {token}'],
        }.get(action, [])
        if not commands:
            raise refused(f"redis-lease: action {action!r}; expected take, renew, release or show")
    answer = redis(stack, [*commands, f"GET {key}", f"PTTL {key}"])
    holder, left = answer[-2] or None, int(answer[-1] or -2)
    ours = holder is not None if action == "show" else answer[len(commands) - 1] == "1"
    return {"held": ours, "token": holder, "ttl": left / 1000 if left > 0 else None}


def _word(value: object, name: str) -> str:
    text = str(value or "")
    if not _WORD.match(text):
        raise refused(f"redis-lease: {name} {text[:40]!r}: expected 1 to 200 of A-Za-z0-9_.:@/+-")
    return text


def redis(stack: Stack, commands: list[str]) -> list[str]:
    """Run commands that answer one line each, in one call; return the lines.

    Raises HostError(error): Redis does not run or does not like a command.
    """
    name = str((stack.redis or {}).get("service") or "redis")
    found = services.running(stack).get(name)
    if found is None or found.state != "running":
        raise failed(f"service {name} of {stack.name}: does not run; see `stackpin status`")
    # By standard input: a token in a process list is nobody's token any more.
    done = docker.docker(
        "exec", "-i", found.id, "redis-cli", data="".join(f"{c}\n" for c in commands), timeout=15
    )
    lines = done.out.split("\n")[:-1]
    wrong = next((line for line in lines if re.match(r"^(\(error\) )?[A-Z]+ ", line)), None)
    if wrong is not None or len(lines) != len(commands):
        raise failed(f"redis-cli of {stack.name}: {wrong or done.last_line()}"[:300])
    return lines


COMMANDS = {"redis-lease": redis_lease}
