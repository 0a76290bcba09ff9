"""The page of a run: all that is known is on it, and no text of a host becomes markup."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_kit import documents, record

from stackpin import redact
from stackpin.evidence.record import write
from stackpin.evidence.verify import verify
from stackpin.report.page import page
from stackpin.report.view import machine_rows
from stackpin.report.words import duration, size, use

OLD = ("01-artifact.json", "02-remote-inspect.json", "03-api-checks.json", "04-portal-checks.json")


class Seen(HTMLParser):
    """What a browser makes of a page: elements with their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(sorted(name for name, _ in attrs))))

    def handle_data(self, data: str) -> None:
        self.text += data


def hostile(text: str) -> str:
    """The page of a run whose every free text holds `text`."""
    found = documents()
    run = found["06-run.json"]
    one = run["hosts"]["web1"]
    one["gate"]["log"] = [text]
    one["gate"]["results"][1]["got"] = text
    one["error"] = "x" + " ".join(text.split())  # each line of it is a paragraph
    found["rollback.json"]["steps"][0].update(error=f"x{text}", outcome=text, log=[text])
    run["why"] = f"x{text}"
    run["notes"] = [text]
    found["03-api-checks.json"]["web1"]["results"][0].update(name=text, expected=text, detail="d")
    op = found["plan.json"]["hosts"]["web1"]["ops"][3]
    op["name"], op["changes"][0]["diff"], op["changes"][0]["subject"] = text, [text], text
    return page(record(documents=found, who=text, reason=text))


PLAIN = Seen(hostile("plain")).elements


@settings(max_examples=60, deadline=None)
@given(
    st.text(max_size=40)
    | st.text(alphabet="<>&\"'/ =!-scriptonload\0\x1b\u2028]", min_size=1, max_size=40)
    | st.sampled_from(
        [
            "<script>alert(1)</script>",
            "</pre></section><img src=x onerror=alert(1)>",
            '" onmouseover="alert(1)',
            "'><svg/onload=alert(1)>",
            "{{ 7 * 7 }}{% raw %}",
            "<!--",
            "</style><style>*{display:none}",
            "javascript:alert(1)",
        ]
    )
)
def test_no_text_of_a_host_becomes_markup(text: str) -> None:
    seen = Seen(hostile(text))
    assert seen.elements == PLAIN


def test_templates_in_texts_are_not_run() -> None:
    assert "{{ 7 * 7 }}" in Seen(hostile("{{ 7 * 7 }}")).text


def test_nothing_is_loaded_from_elsewhere() -> None:
    html = page(record())
    tags = {tag for tag, _ in Seen(html).elements}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    assert "@import" not in html
    assert "url(" not in html
    names = {name for _, found in Seen(html).elements for name in found}
    assert not any(name.startswith("on") or name == "src" for name in names)


def test_every_check_and_stage_and_host_is_on_it() -> None:
    text = " ".join(Seen(page(record())).text.split())
    found = documents()
    for gate in found["03-api-checks.json"].values():
        for check in gate["results"]:
            assert all(" ".join(check[key].split()) in text for key in ("name", "expected", "got"))
    for one in found["05-timings.json"]["hosts"]["web1"]:
        assert one["stage"].replace("abort", "going back") in text
    for told in (
        "web2",
        "not touched",
        "exit code 4",
        "ticket 4711",
        "Score 86 %",
        "sha256:ec37ff",
    ):
        assert told in text
    assert "412 of 1,987 MiB (21 %)" in text
    assert "differs (secret, not shown)" in text


def test_the_way_back_is_told_step_by_step() -> None:
    found = documents()
    (step,) = found["rollback.json"]["steps"]
    failed = {**step, "host": "web2", "kind": "return", "outcome": "unknown", "error": "silent"}
    found["rollback.json"]["steps"] = [step, failed]
    text = Seen(page(record(documents=found))).text
    assert text.index("took back what was begun") < text.index("returned")
    assert "proven serving" in text
    assert "silent" in text


def test_it_says_where_a_built_artifact_came_from() -> None:
    found = documents()
    origin = {"kind": "git", "repo": "https://git.example/crm", "ref": "v1.2.0", "commit": "4f1c2a"}
    found["01-artifact.json"]["artifact"]["origin"] = origin
    text = Seen(page(record(documents=found))).text
    assert "from https://git.example/crm v1.2.0 at commit 4f1c2a" in text


def test_records_made_before_there_were_pages_can_be_shown() -> None:
    found = documents()
    times = found["05-timings.json"]
    for timings in times["hosts"].values():
        for one in timings:
            del one["at"]
    old = {**{name: found[name] for name in OLD}, "05-timings.json": times}
    old["02-remote-inspect.json"]["web2"] = old["03-api-checks.json"]["web2"] = None
    text = Seen(page(record(documents=old))).text
    assert "packs-without-token" in text
    assert "not asked" in text


def test_page_and_figures_are_part_of_what_is_proven(tmp_path: Path) -> None:
    path = write(tmp_path, record(texts={"report.html": page(record()), "metrics.prom": "x 1\n"}))
    names = [one["name"] for one in json.loads((path / "manifest.json").read_text())["files"]]
    assert {"report.html", "metrics.prom"} <= set(names)
    assert verify(path) == []
    (path / "report.html").write_text("<p>all went well")
    assert verify(path) == [one for one in verify(path) if one.startswith("report.html: altered")]
    assert verify(path)


def test_a_record_without_page_and_figures_is_as_written(tmp_path: Path) -> None:
    assert verify(write(tmp_path, record())) == []


def test_secrets_are_out_before_they_are_escaped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = "<to&ken>'\"{{x}}"
    monkeypatch.setattr(redact, "_known", frozenset({token}))
    html = hostile(f"Authorization: {token}")
    assert "ken&gt;" not in html
    assert "Authorization: ***" in html


def test_figures_in_words() -> None:
    assert [duration(one) for one in (0.04, 9.96, 12.4, 125)] == [
        "0.0 s",
        "10.0 s",
        "12 s",
        "2 min 05 s",
    ]
    assert [size(one) for one in (712, 90669, 3 * 2**30)] == ["712 B", "88.5 KiB", "3.0 GiB"]
    assert use(None) == use({"total": 0, "used": 0}) == ""
    assert machine_rows(None, None) == [
        {"label": "CPU load (1, 5, 15 min)", "before": "", "after": ""}
    ]
