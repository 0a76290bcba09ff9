"""Keeps known secrets out of text: in clear, and in every form output usually gives them."""

from __future__ import annotations

import base64
import functools
import html
import json
import logging
import re
import shlex
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_plus

from stackpin.config.envfile import render_env, unwritable

MASK = "***"
SHORTEST = 8  # characters of a secret; a shorter one could not be kept out without holes
_QUOTERS = 2  # repr of a JSON text and the like: forms of forms
_known: frozenset[str] = frozenset()


def conceal(value: str) -> None:
    """Keep a secret out of all that is redacted from now on."""
    global _known  # noqa: PLW0603 - one process has one set of secrets
    _known |= {value, value.strip("\r\n")}


def forget() -> None:
    """Forget every secret (for tests)."""
    global _known  # noqa: PLW0603
    _known = frozenset()


def redact(text: str) -> str:
    """`text` with *** in place of every secret resolved so far, in any of its forms."""
    return _pattern(_known).sub(MASK, text) if _known else text


def redact_value(value: Any) -> Any:  # noqa: ANN401 - any JSON value in, the same shape out
    """Redact every text in a JSON-like value, keys included."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {redact_value(key): redact_value(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(redact_value(entry) for entry in value)
    return value


class RedactingFilter(logging.Filter):
    """Redacts a record's message, arguments, traceback and stack before any handler formats it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place; nothing is ever dropped."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # the arguments do not fit: logging would print them
            message = f"{record.msg} {record.args}"
        record.msg, record.args = redact(message), ()
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
            record.exc_info = None  # a formatter of its own would format it afresh
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        return True


def install(*loggers: logging.Logger) -> None:
    """Redact what the handlers of `loggers` (default: the root logger) write. May be repeated."""
    for logger in loggers or (logging.getLogger(),):
        for handler in logger.handlers:
            if not any(isinstance(present, RedactingFilter) for present in handler.filters):
                handler.addFilter(RedactingFilter())


@functools.lru_cache(maxsize=8)
def _pattern(values: frozenset[str]) -> re.Pattern[str]:
    found = {form for value in values for form in _all_forms(value)}
    # Longest first: one secret may be the beginning of another.
    return re.compile("|".join(map(re.escape, sorted(found, key=lambda f: (-len(f), f)))))


def _all_forms(value: str) -> set[str]:
    """Every form of a secret, and of each line of a multi-line one that is long enough."""
    parts = {value} | {line for line in value.splitlines() if len(line) >= SHORTEST}
    forms = {form for part in parts for form in _forms(part)}
    return {form for form in forms if len(form) >= SHORTEST}


def _forms(value: str) -> set[str]:
    forms = {value}
    for _ in range(_QUOTERS):
        forms |= {quoted for form in forms for quoted in _quoted(form)}
    for form in {value, value + "\n"}:
        forms |= set(_base64(form))
    raw = value.encode()
    forms |= {quote(value), quote(value, safe=""), quote_plus(value), raw.hex(), raw.hex().upper()}
    forms |= {re.sub("%[0-9A-F]{2}", lambda m: m[0].lower(), quote(value, safe=""))}
    forms |= {html.escape(value), html.escape(value, quote=False), shlex.quote(value)}
    if not unwritable(value):
        forms.add(render_env({"A": value})[3:-2])
    return forms


def _quoted(value: str) -> Iterator[str]:
    yield repr(value)[1:-1]
    yield repr(value.encode())[2:-1]
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    # repr prefers the quotes that need no escape; inside a longer text it may not have had that.
    yield repr(value)[1:-1].replace("'", "\\'")
    yield repr(value + "'\"")[1:-4]


def _base64(value: str) -> Iterator[str]:
    """Base64 wherever the value may start in the encoded bytes ("user:token" shifts it)."""
    raw = value.encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(3):
            # Characters which also hold bits of what is before or after cannot be known.
            coded = encode(b"\0" * shift + raw).decode().rstrip("=")
            first = -(-shift * 8 // 6)
            last = (shift + len(raw)) * 8 // 6
            yield coded[first:last]
