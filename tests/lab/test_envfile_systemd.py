"""What render_env writes is what systemd on a real host hands to a service."""

from __future__ import annotations

import base64
import random
import uuid

from stackpin.config.envfile import render_env, unwritable
from stackpin.host.envfile import parse_env
from stackpin.lab import Lab

FIXED = [
    "", " ", "  both ends  ", "$HOME ${HOME} $$ %i %% %h", "a\\", "\\", "\\\\", "\\n\\t\\x41\\101",
    '"', "'", "''\"\"", "'\"'\"'", '\\"', "`id`", "$(id)", "#start", ";start", "a#b;c", "A=B=C",
    "!history", "~root",
    "*?[a-z]{1,2}", "<>|&&||", "-n", "--", "\u00e9\u4e2d\U0001f600\u00a0",
    "trailing\\\\", "x" * 2000, "|/\"' $& end", "'open", '"open',
]  # fmt: skip
ALPHABET = "abc019 $&|/\"'`\\#;=%{}!*?~<>()[]@^+-_.,:\u00e9\u4e2d\U0001f600"


def test_hostile_tokens_reach_a_service_unchanged(lab: Lab) -> None:
    chance = random.Random(2026)  # noqa: S311 - the same tokens in every run
    made = ["".join(chance.choices(ALPHABET, k=chance.randint(1, 60))) for _ in range(70)]
    tokens = {f"T{n:03}": token for n, token in enumerate([*FIXED, *made])}
    assert not any(unwritable(token) for token in tokens.values())
    text = render_env(tokens)
    name = f"stackpin-envfile-{uuid.uuid4().hex[:8]}"
    path = f"/run/{name}.env"
    coded = base64.b64encode(text.encode()).decode()
    # /proc/self/environ is NUL separated, so no value can be mistaken for two.
    script = (
        f"umask 077; echo {coded} | base64 -d > {path}; trap 'rm -f {path}' EXIT; "
        f"systemd-run --quiet --wait --pipe --collect --unit={name} "
        f"-p EnvironmentFile={path} cat /proc/self/environ | base64 -w0"
    )
    output = lab.run(lab.hosts[0], script).stdout
    seen = dict(
        entry.split("=", 1) for entry in base64.b64decode(output).decode().split("\0") if entry
    )
    assert {key: seen.get(key) for key in tokens} == tokens
    assert parse_env(text) == tokens
