"""The dashboard: all there is about an inventory, also when not everybody answers."""

from __future__ import annotations

import copy
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_kit import overview, record

from stackpin.care.overview import exit_code
from stackpin.errors import Refused
from stackpin.evidence.record import write as write_record
from stackpin.report.dashboard import dashboard, write
from stackpin.report.page import page


class Elements(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.append(f"{tag} {sorted(name for name, _ in attrs)}")

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    write_record(tmp_path / "evidence", record(texts={"report.html": page(record())}))
    write_record(tmp_path / "evidence", record(run="older"))
    return overview(tmp_path, monkeypatch)


def test_it_says_what_runs_what_is_pinned_and_what_wants_a_look(
    tmp_path: Path, document: dict[str, Any]
) -> None:
    text = " ".join(Elements(dashboard(document, tmp_path / "out")).text.split())
    for told in (
        "2 of 3 Hosts that answer",
        "2 of 3 Services healthy",
        "1 of 2 At their pinned version",
        "pinned v1.2.0, running v1.1.0-ee2c2703",
        "not reached: web3: no route to host",
        "drift: port 8000/tcp is open",
        "check metrics: expected",
        "428 of 1,987 MiB (22 %)",
        "deploy: done",
    ):
        assert told in text
    assert "portal" not in [one["stack"] for host in document["hosts"] for one in host["stacks"]]
    assert "monitor" not in text  # no stack is pinned for it


def test_the_last_reports_are_linked_from_where_the_page_lies(
    tmp_path: Path, document: dict[str, Any]
) -> None:
    html = write(document, tmp_path / "a" / "b").read_text()
    link = 'href="../../evidence/prod/crm/20261122T035507Z-v1.2.0/report.html"'
    assert html.count(link) == 1
    assert html.count(">none</span>") == 1  # the record without a page
    assert (tmp_path / "a/b" / link[6:-1]).is_file()


def test_files_are_replaced_and_the_folder_is_private(
    tmp_path: Path, document: dict[str, Any]
) -> None:
    folder = tmp_path / "out"
    write(document, folder)
    write(document, folder)
    assert sorted(one.name for one in folder.iterdir()) == ["dashboard.json", "index.html"]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert json.loads((folder / "dashboard.json").read_text()) == document


def test_a_folder_that_cannot_be_had_is_refused(tmp_path: Path, document: dict[str, Any]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match="expected a folder"):
        write(document, tmp_path / "file")


@pytest.mark.parametrize(("away", "code"), [((), 0), (("web3",), 1), (("web1", "web2", "web3"), 1)])
def test_hosts_out_of_reach_are_shown_and_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, away: tuple[str, ...], code: int
) -> None:
    monkeypatch.setattr("report_kit.Hosts.answer", _as_web1) if not away else None
    found = overview(tmp_path, monkeypatch, away)
    assert exit_code(found) == code
    assert [host["host"] for host in found["hosts"]] == ["web1", "web2", "web3"]
    assert [host["host"] for host in found["hosts"] if host["error"]] == list(away)
    assert all(len(host["stacks"]) == 1 for host in found["hosts"])
    assert "web3" in dashboard(found, tmp_path)


def _as_web1(self: Any, host: str, command: str, part: str) -> Any:
    from report_kit import documents

    if part == "portal":
        return {"installed": False}
    if command == "verify":
        return documents()["03-api-checks.json"]["web1"]
    state = {"installed": True, "live_slot": "blue", "live_release": "v1.2.0-b3f29e4c"}
    return {"findings": []} if command == "inspect" else state


def test_a_gate_that_fails_is_exit_code_5(document: dict[str, Any]) -> None:
    found = copy.deepcopy(document)
    for host in found["hosts"]:
        host["error"] = None
    found["hosts"][0]["stacks"][0]["healthy"] = False
    assert exit_code(found) == 5


def test_an_inventory_without_stacks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("report_kit.INVENTORY", 'web = ["web1"]\n')
    with pytest.raises(Refused, match="no host has a stack"):
        overview(tmp_path, monkeypatch)


def hostile(document: dict[str, Any], text: str) -> list[str]:
    found = copy.deepcopy(document)
    one = found["hosts"][1]["stacks"][0]
    one["gate"]["results"][0].update(got=text, ok=False)
    one["findings"][0]["message"] = text
    one["last"] = one["lock"] = f"x{text}"
    found["hosts"][2]["error"] = f"x{text}"
    found["reports"][0]["who"] = f"x{text}"
    found["reports"][1]["outcome"] = f"x{text}"
    return Elements(dashboard(found, Path("out"))).found


def test_no_text_of_a_host_becomes_markup(document: dict[str, Any]) -> None:
    plain = hostile(document, "plain")

    @settings(max_examples=40, deadline=None)
    @given(
        st.text(max_size=30)
        | st.text(alphabet="<>&\"'/ =!-script\0\x1b]", max_size=30)
        | st.sampled_from(["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "<!--"])
    )
    def check(text: str) -> None:
        assert hostile(document, text) == plain

    check()
