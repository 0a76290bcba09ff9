"""What a rollback does with data: which backup is from before, and putting it back when asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from stackpin.care import restoring
from stackpin.care.backups import short
from stackpin.care.fleet import Voice
from stackpin.care.history import collate
from stackpin.care.parts import keeper_of
from stackpin.engine.remote import RemoteError
from stackpin.engine.session import Session
from stackpin.errors import Refused
from stackpin.rollout.model import Roll, Run

__all__ = ["BEFORE", "Data"]

BEFORE = "before"
TIMEOUT = 120.0
JOURNAL = 1000  # lines; an update of long ago may be what is rolled back
_SERVED = {"switched", "confirmed", "retired"}


@dataclass
class Data:
    """The data of one rollback: `wanted` is a backup's id, `before`, or None to leave it alone.

    `views` are what a restore would do, by (host, part that keeps the backups).
    """

    wanted: str | None
    views: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    def choose_backup(self, run: Run) -> Run:
        """Find the backup of every host; an opening step of the rollback.

        Raises Refused where one is wanted and there is none.
        """
        for (host, keeper), rolls in _changing(run).items():
            try:
                listed = run.session.call(host, "backup-list", keeper, timeout=TIMEOUT)["backups"]
            except RemoteError as error:
                if self.wanted is not None:
                    raise
                run.notes.append(f"{host}: data stays as it is; its backups: {error.message}")
                continue
            from_before = _from_before(run.session, host, rolls, listed)
            if self.wanted is None:
                run.notes.append(_stays(host, from_before))
                continue
            chosen = from_before if self.wanted == BEFORE else _called(self.wanted, listed)
            if chosen is None:
                raise Refused(_none(host, keeper, self.wanted, listed))
            view = restoring.view(run.session, host, keeper, str(chosen["snapshot"]))
            self.views[host, keeper] = view
        return run

    def describe(self) -> Iterator[str]:
        """Yield what would be put back and what would be lost, as lines."""
        for (host, keeper), view in self.views.items():
            yield f"{host} {keeper}: then the data goes back to"
            yield from (f"  {line}" for line in restoring.describe(view))

    def put_back(self, session: Session, voice: Voice) -> dict[str, dict[str, Any]]:
        """Restore every chosen backup, host after host; return the answers by host."""
        done = {}
        for (host, keeper), seen in self.views.items():
            # Another release is live now, and the host wants to be asked about that one.
            view = restoring.view(session, host, keeper, str(seen["snapshot"]))
            done[host] = restoring.restore(session, host, keeper, view, voice)
            voice.line(f"{host}: {keeper}: data of {seen['time']} restored and serving")
        return done


def _changing(run: Run) -> dict[tuple[str, str], list[Roll]]:
    """Group the rolls that go back by host and by the part that keeps their backups."""
    found: dict[tuple[str, str], list[Roll]] = {}
    for roll in run.rolls:
        keeper = keeper_of(roll.part)
        settings = run.settings[roll.host].get(keeper)
        if not roll.alive or not roll.switches or settings is None:
            continue
        stack = settings.host_stack()
        if stack.backup is not None and (stack.database or stack.postgres):
            found.setdefault((roll.host, keeper), []).append(roll)
    return found


def _from_before(
    session: Session, host: str, rolls: list[Roll], backups: list[dict[str, Any]]
) -> dict[str, Any] | None:
    """Return the backup of the run that left the release which is gone back to."""
    for roll in rolls:
        state = session.call(host, "state", roll.part, {"journal": JOURNAL})
        for entry in reversed(collate(host, state.get("journal") or [])):
            left = entry.before == roll.wanted and entry.release != roll.wanted
            if not entry.run or entry.event not in _SERVED or not left:
                continue
            made = [one for one in backups if entry.run in (one.get("tags") or [])]
            if made:
                return made[-1]
    return None


def _called(name: str, backups: list[dict[str, Any]]) -> dict[str, Any] | None:
    found = [one for one in backups if str(one["snapshot"]).startswith(name)]
    return found[0] if len(found) == 1 else None


def _none(host: str, keeper: str, wanted: str, backups: list[dict[str, Any]]) -> str:
    what = "from before the release that is live" if wanted == BEFORE else f"called {wanted}"
    known = ", ".join(short(one) for one in backups[-10:]) or "none at all"
    return (
        f"{host}: found no backup of {keeper} {what}; there is {known}. Name one of them, or leave "
        "--with-data out: the data then stays as it is"
    )


def _stays(host: str, backup: Mapping[str, Any] | None) -> str:
    told = f"{host}: data stays as it is; "
    if backup is None:
        return told + "no backup from before is known"
    when = str(backup["time"]).partition(".")[0].replace("T", " ").removesuffix("Z")
    return f"{told}as it was before is backup {short(backup)} of {when} UTC"
