"""Keeping a release's secrets out of everything the host program prints."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

MASK = "***"
_SECRET_NAME = re.compile(
    r"TOKEN|PASSWORD|PASSWD|SECRET|CREDENTIAL|PRIVATE|API_?KEY", re.IGNORECASE
)
_REFERENCE = re.compile(r"\{env:([A-Za-z_][A-Za-z0-9_]*)\}")


def references(texts: Iterable[str]) -> set[str]:
    """Names used as {env:NAME} in any of `texts`."""
    return {name for text in texts for name in _REFERENCE.findall(text)}


def expand(text: str, env: Mapping[str, str]) -> str:
    """Replace {env:NAME} by its value. Raises KeyError(NAME) when the environment lacks it."""
    return _REFERENCE.sub(lambda match: env[match.group(1)], text)


class Masker:
    """Replaces known secrets by *** in text, also base64, URL- and JSON-encoded."""

    def __init__(self, secrets: Iterable[str]) -> None:
        """`secrets` are clear values; empty ones are ignored."""
        forms = {form for secret in secrets if secret for form in _forms(secret)}
        # Longest first: one secret may be the beginning of another.
        ordered = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    @classmethod
    def of(cls, env: Mapping[str, str], also: Iterable[str] = ()) -> Masker:
        """Mask the variables of `env` that are named like secrets, and those named in `also`."""
        names = {name for name in env if _SECRET_NAME.search(name)} | set(also)
        return cls(env[name] for name in names if name in env)

    def __call__(self, text: str) -> str:
        """`text` without any known secret."""
        return self._pattern.sub(MASK, text) if self._pattern else text


def _forms(secret: str) -> set[str]:
    import base64  # noqa: PLC0415 - both take long to load, for a command that masks nothing
    from urllib.parse import quote, quote_plus  # noqa: PLC0415

    raw = secret.encode()
    plain = base64.b64encode(raw).decode()
    return {
        secret,
        plain,
        plain.rstrip("="),
        base64.urlsafe_b64encode(raw).decode().rstrip("="),
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
    }
