"""Messages to people through Apprise: in the background, within a time limit, never a failure."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from stackpin.config.common import Shared
from stackpin.config.types import SecretRef
from stackpin.redact import redact
from stackpin.secrets import SecretError, resolve

__all__ = ["Event", "Messenger", "deliver"]

Event = Literal["start", "success", "failure", "drift", "test"]

LIMIT = 15.0  # seconds that the end of a command waits for its messages
SHORTEST = 6  # characters; pieces of an address this long may be tokens
_KINDS = {  # of Apprise
    "start": "info",
    "success": "success",
    "failure": "failure",
    "drift": "warning",
    "test": "info",
}


@dataclass
class Messenger:
    """Sends to the addresses `refs` refer to, of those events that are in `on`."""

    refs: tuple[SecretRef, ...] = ()
    on: frozenset[str] = frozenset()
    _threads: list[threading.Thread] = field(default_factory=list)
    _problems: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, shared: Iterable[Shared]) -> Messenger:
        """Make the messenger of several hosts' settings: every address once."""
        every = list(shared)
        refs = dict.fromkeys(ref for one in every for ref in one.notify)
        return cls(tuple(refs), frozenset(event for one in every for event in one.notify_on))

    def send(self, event: Event, title: str, body: str) -> None:
        """Begin to send a message, unless nobody wants to hear of `event`; returns at once."""
        if not self.refs or event not in self.on:
            return
        thread = threading.Thread(
            target=self._deliver, args=(event, redact(title), redact(body)), daemon=True
        )
        self._threads.append(thread)
        thread.start()

    def finish(self, seconds: float = LIMIT) -> list[str]:
        """Wait at most `seconds` for what is being sent; return what could not be, in words."""
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                self._problems.append(f"a notification was not sent within {seconds:g} s")
        self._threads.clear()
        problems, self._problems = self._problems, []
        return problems

    def _deliver(self, event: Event, title: str, body: str) -> None:
        for ref in self.refs:
            problem = deliver(ref, event, title, body)
            if problem:
                self._problems.append(f"no notification to {ref}: {problem}")


def deliver(ref: SecretRef, event: Event, title: str, body: str) -> str | None:
    """Send one message to the address `ref` refers to; return why that did not work, else None."""
    import apprise  # noqa: PLC0415 - 0.2 s that most commands can save

    try:
        url = resolve(ref).get_secret_value()
    except SecretError as error:
        return str(error)
    with apprise.LogCapture(  # type: ignore[no-untyped-call]
        level=logging.WARNING, fmt="%(message)s"
    ) as captured:
        target = apprise.Apprise(asset=apprise.AppriseAsset(app_id="Stackpin"))
        try:
            if not target.add(url):
                return "not an address that Apprise knows; expected one such as mailto://..."
            sent = target.notify(
                body=body,
                title=title,
                notify_type=apprise.NotifyType(_KINDS[event]),
                body_format=apprise.NotifyFormat.TEXT,
            )
        except Exception as error:  # a plug-in of somebody else's: whatever it is, only a note
            return _masked(f"{type(error).__name__}: {error}", url)
        lines = [line for line in captured.getvalue().splitlines() if line.strip()]
    return None if sent else _masked(lines[0] if lines else "not accepted", url)


def _masked(text: str, url: str) -> str:
    """Leave out every piece of `url` that may be a token: a service's message may quote it."""
    pieces: Sequence[str] = re.split(r"[/:@?&=#,]+", url)
    for piece in sorted(pieces, key=len, reverse=True):
        if len(piece) >= SHORTEST:
            text = text.replace(piece, "***")
    return redact(text)[:300]
