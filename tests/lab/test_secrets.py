"""The live token is nowhere it may not be: every output, log, file, process list and record.

One story on one host: deploy, plans, every command that talks, and runs that fail, all at full
verbosity; process lists of both machines are sampled all the while. Then everything is searched
for the token in each form programs give it.
"""

from __future__ import annotations

import base64
import html
import json
import os
import shlex
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from operator_seat import TOKEN, Seat
from project import host_name

from stackpin.lab import Lab
from stackpin.lab.ssh import ssh_command

pytestmark = pytest.mark.timeout(900)

# Every process's command line, five times a second, as the least of users sees them.
SAMPLER = (
    "cd /proc; while :; do for p in [0-9]*; do tr '\\0' ' ' <$p/cmdline; echo; done 2>/dev/null; "
    "sleep 0.2; done"
)


def forms() -> list[str]:
    """The token as programs write it; long enough pieces of it where the start may shift."""
    env = TOKEN.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("`", "\\`")
    found = {TOKEN, env, shlex.quote(TOKEN), html.escape(TOKEN), html.escape(TOKEN, quote=False)}
    found |= {json.dumps(TOKEN)[1:-1], repr(TOKEN)[1:-1], repr(TOKEN.encode())[2:-1]}
    found |= {quote(TOKEN), quote(TOKEN, safe=""), quote_plus(TOKEN), TOKEN.encode().hex()}
    for shift in range(3):
        raw = b"\0" * shift + TOKEN.encode()
        found.add(base64.b64encode(raw).decode()[4:-4])
        found.add(base64.urlsafe_b64encode(raw).decode()[4:-4])
    # Free of anything a quoting could change: the beginning or the end alone gives it away too.
    return sorted({*found, TOKEN[-16:]})


FORMS = forms()
PATTERNS = "\n".join(FORMS).encode() + b"\n"


def leaks(text: str) -> list[str]:
    return [form for form in FORMS if form in text]


class Sampled:
    """What the process lists of this machine and the host showed during a block."""

    def __init__(self, seat: Seat) -> None:
        self.seat = seat
        self.here: set[str] = set()
        self.there = ""
        self._stop = threading.Event()

    def __enter__(self) -> Sampled:
        argv = [*ssh_command(self.seat.lab.paths, self.seat.host), SAMPLER]
        self._host = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self._threads = [
            threading.Thread(target=self._watch_here),
            threading.Thread(target=self._watch_there),
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._host.kill()
        for thread in self._threads:
            thread.join()

    def _watch_here(self) -> None:
        while not self._stop.is_set():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.here.add(path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
                except OSError:
                    continue
            time.sleep(0.1)

    def _watch_there(self) -> None:
        assert self._host.stdout is not None
        lines: set[bytes] = set()
        for line in self._host.stdout:
            lines.add(line)
        self.there = b"".join(lines).decode("utf-8", "replace")


@pytest.fixture(scope="module")
def story(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Seat, Sampled]]:
    """Everything done once; what it left behind is searched by the tests."""
    seat = Seat.make(lab, lab.reset(host_name(lab)), tmp_path_factory.mktemp("seat"))
    with Sampled(seat) as sampled:
        seat.stackpin("check", "site", "--debug")
        seat.stackpin("plan", "site", "--debug", "--out", "plan.json").exits(2)
        seat.stackpin("deploy", "site", "--yes", "--debug").exits(0)
        seat.on_host("logger --journald", careless(seat))
        for words in (
            ("preflight",),
            ("verify",),
            ("drift", "--junit", "drift.xml", "--prometheus", "drift.prom"),
            ("status", "--check"),
            ("history",),
            ("logs",),
            ("backup",),
            ("backup list",),
            ("lock",),
        ):
            seat.stackpin(words[0], "site", *words[1:], "--debug")
            seat.stackpin(words[0], "crm", *words[1:], "--debug", "--json")
        # A new token in the declaration while the old one is live: both are secrets.
        seat.stackpin("plan", "site", "--debug", "--json", crm_env={"CRM_EXTRA": "changed"})
        # Failing at full verbosity: the gate, the rehearsal, and the deploy file itself.
        seat.stackpin("deploy", "crm", "--yes", "--debug", "--no-rehearsal", crm_version="v1.2.0")
        seat.stackpin("deploy", "crm", "--yes", "--debug", "--json", crm_version="v1.3.0")
        seat.stackpin("deploy", "crm", "--yes", "--debug", crm_user="not a user")
        seat.stackpin("restore", "crm", "0123456789", "--yes", "--debug")
        stock(seat, "--dry", "--diff", "-vvv", "--debug", version="v1.1.0")
        stock(seat, "-y", "-vvv", "--debug", version="v1.2.0")
        (seat.folder / "broken").write_text(TOKEN + "\n\x07")
        seat.stackpin("check", "site", "--debug", crm_admin_token="file:broken")
        (seat.folder / "broken").unlink()
    yield seat, sampled


def careless(seat: Seat) -> bytes:
    """A journal entry of the unit that holds the token, only for `logs` to mask."""
    live = seat.state()["live_slot"]
    return f"MESSAGE=careless {TOKEN}\nOBJECT_SYSTEMD_UNIT=crm@{live}.service\n".encode()


def stock(seat: Seat, *words: str, version: str = "v1.0.0") -> None:
    seat.program(seat.pyinfra_argv("site", *words, crm_version=version))


def test_the_story_ran_and_failed_where_it_should(story: tuple[Seat, Sampled]) -> None:
    seat, sampled = story
    everything = "\n".join(seat.all_output)
    assert "serves the wanted release" in everything
    assert "500" in everything  # v1.2.0 was shown with its answer
    assert "careless ***" in everything
    assert len(sampled.here) > 20
    assert "host-" in sampled.there or "host.pyz" in sampled.there


def test_no_output_has_the_token(story: tuple[Seat, Sampled]) -> None:
    seat, _ = story
    found = [(leaks(text), text[:200]) for text in seat.all_output if leaks(text)]
    assert found == []


def test_no_process_list_had_the_token(story: tuple[Seat, Sampled]) -> None:
    _, sampled = story
    assert leaks(sampled.there) == []
    assert [line[:80] for line in sampled.here if leaks(line)] == []


def test_no_evidence_plan_report_or_other_local_file_has_the_token(
    story: tuple[Seat, Sampled],
) -> None:
    seat, _ = story
    files = [path for path in seat.folder.rglob("*") if path.is_file()]
    assert any("evidence" in path.parts for path in files)
    assert (seat.folder / "plan.json").exists()
    assert [path for path in files if leaks(path.read_bytes().decode("utf-8", "replace"))] == []
    modes = {path: path.stat().st_mode & 0o777 for path in files if "evidence" in path.parts}
    assert set(modes.values()) == {0o600}


def test_no_journal_of_the_host_has_the_token(story: tuple[Seat, Sampled]) -> None:
    seat, _ = story
    # Binary fields and all; only the line planted for `logs` may be there.
    text = seat.on_host("journalctl --all --no-pager --output=verbose")
    rest = text.replace(f"MESSAGE=careless {TOKEN}", "")
    assert leaks(rest) == []
    assert len(text) > 10_000


def test_no_file_others_may_read_has_the_token(story: tuple[Seat, Sampled]) -> None:
    seat, _ = story
    everywhere = "/etc /opt /srv /var /run /tmp /usr/local /home /root /dev/shm /proc/*/cmdline"
    search = f"grep -rlaF -f - {everywhere} 2>/dev/null || true"
    as_nobody = f"setpriv --reuid=65534 --regid=65534 --clear-groups sh -c {shlex.quote(search)}"
    assert seat.on_host(as_nobody, PATTERNS) == ""
    # The search itself works: root finds the env file of the release, and it is root's alone.
    place = "/opt/crm/releases"
    found = seat.on_host(f"grep -rlaF -f - {place}", PATTERNS).split()
    assert found
    modes = seat.on_host(f"stat -c '%a %U' {' '.join(found)}").splitlines()
    assert set(modes) == {"600 root"}


def test_what_root_alone_reads_is_where_it_must_be(story: tuple[Seat, Sampled]) -> None:
    seat, _ = story
    where = "/etc /opt /srv /var/lib /var/log /var/backups /var/tmp /run /tmp /usr/local /root"
    search = f"grep -rlaF -f - {where} --exclude-dir=journal 2>/dev/null || true"
    found = seat.on_host(search, PATTERNS).split()
    allowed = ("/opt/crm/releases/",)
    assert [path for path in found if not path.startswith(allowed)] == []


def test_local_world_readable_places_have_no_token(story: tuple[Seat, Sampled]) -> None:
    seat, _ = story
    # Laid down when the story began; the folder itself is touched until its end.
    begun = (seat.folder / "deploys").lstat().st_mtime
    for top in (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm")):
        for folder, names, files in os.walk(top):
            names[:] = [n for n in names if Path(folder, n).lstat().st_mode & 0o005 == 0o005]
            for path in (Path(folder, name) for name in files):
                try:
                    young = path.stat().st_mtime >= begun and path.stat().st_size < 50_000_000
                    text = path.read_bytes() if young and path.is_file() else b""
                except OSError:
                    continue
                assert TOKEN.encode() not in text, path
