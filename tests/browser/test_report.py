"""The page of a run and the dashboard as a person reads them, in a real browser.

`STACKPIN_SCREENSHOTS=DIR pytest tests/browser/test_report.py` makes pictures; those of the
documentation are report-light, report-phone-dark, dashboard-light and dashboard-phone-dark.
"""

from __future__ import annotations

import base64
import itertools
from pathlib import Path
from typing import Any

import pytest
from report_kit import documents, overview, record
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from stackpin.evidence.record import write
from stackpin.report.dashboard import dashboard
from stackpin.report.page import page

pytestmark = pytest.mark.browser

PHONE = {"width": 360, "height": 780, "deviceScaleFactor": 1, "mobile": True}
DESK = {"width": 1200, "height": 900, "deviceScaleFactor": 1, "mobile": False}

# Contrast of every visible text against what is really behind it, by WCAG 2: below 4.5 is listed.
CONTRAST = """
const rgb = text => [...text.match(/[\\d.]+/g).map(Number), 1].slice(0, 4);
const part = v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
const light = c => .2126 * part(c[0]) + .7152 * part(c[1]) + .0722 * part(c[2]);
const behind = e => {
  for (; e; e = e.parentElement) {
    const color = rgb(getComputedStyle(e).backgroundColor);
    if (color[3] > 0) return color;
  }
  return [255, 255, 255, 1];
};
const poor = [];
for (const e of document.querySelectorAll('body *')) {
  const own = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
  if (!own || !e.checkVisibility()) continue;
  const [a, b] = [light(rgb(getComputedStyle(e).color)), light(behind(e))];
  const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} ${e.tagName} ${e.textContent.slice(0, 40)}`);
}
return poor;
"""
# Boxes that scroll sideways and that the keyboard cannot reach.
STUCK = """
return [...document.querySelectorAll('body *')].filter(e =>
  e.scrollWidth > e.clientWidth + 1 && e.tabIndex < 0
  && ['auto', 'scroll'].includes(getComputedStyle(e).overflowX)
).map(e => e.outerHTML.slice(0, 80))
"""


class Reader:
    """Somebody who opens a page from disk, in one colour scheme, on one device."""

    def __init__(self, driver: webdriver.Chrome, folder: Path, shots: Path) -> None:
        self.driver, self.folder, self.shots = driver, folder, shots
        self.requests: list[str] = []

    def open(self, html: str, *, scheme: str = "light", device: dict[str, Any] = DESK) -> None:
        path = self.folder / "report.html"
        path.write_text(html, "utf-8")
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", device)
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self.driver.get(path.as_uri())

    def js(self, text: str) -> Any:
        return self.driver.execute_script(text)

    def text(self) -> str:
        return str(self.driver.find_element(By.TAG_NAME, "body").text)

    def all(self, selector: str) -> list[Any]:
        return list(self.driver.find_elements(By.CSS_SELECTOR, selector))

    def complaints(self) -> list[str]:
        return [e["message"] for e in self.driver.get_log("browser") if e["level"] != "INFO"]

    def shot(self, name: str, height: int) -> None:
        """Keep a picture of the page's first `height` pixels."""
        size = self.js("return [innerWidth, document.documentElement.scrollHeight]")
        clip = {"x": 0, "y": 0, "width": size[0], "height": min(size[1], height), "scale": 1}
        options = {"format": "png", "clip": clip, "captureBeyondViewport": True}
        data = self.driver.execute_cdp_cmd("Page.captureScreenshot", options)["data"]
        (self.shots / f"{name}.png").write_bytes(base64.b64decode(data))


@pytest.fixture
def reader(browser: webdriver.Chrome, tmp_path: Path, shots: Path) -> Reader:
    return Reader(browser, tmp_path, shots)


KINDS = ("report", "dashboard")


@pytest.fixture
def html(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if kind == "report":
        return page(record())
    write(tmp_path / "evidence", record(texts={"report.html": page(record())}))
    return dashboard(overview(tmp_path, monkeypatch), tmp_path)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_readable_on_a_desk_and_on_a_phone(
    reader: Reader, html: str, kind: str, scheme: str
) -> None:
    reader.open(html, scheme=scheme)
    reader.shot(f"{kind}-{scheme}", 2000)
    assert reader.js(CONTRAST) == []
    reader.open(html, scheme=scheme, device=PHONE)
    reader.shot(f"{kind}-phone-{scheme}", 1500)
    assert reader.js("return document.documentElement.scrollWidth") <= PHONE["width"]
    assert reader.js("scrollTo(500, 0); return scrollX") == 0
    assert reader.js(CONTRAST) == []
    assert reader.complaints() == []


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_asked_of_anybody(reader: Reader, html: str) -> None:
    reader.open(html)
    assert reader.js("return performance.getEntriesByType('resource').length") == 0
    assert reader.all("script, link, img, iframe, object, embed, form") == []
    assert reader.complaints() == []


@pytest.mark.parametrize("kind", KINDS)
def test_headings_and_landmarks_lead_through_it(reader: Reader, html: str) -> None:
    reader.open(html)
    assert [len(reader.all(one)) for one in ("h1", "header", "main", "footer")] == [1, 1, 1, 1]
    levels = [int(one.tag_name[1]) for one in reader.all("h1, h2, h3, h4")]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    for link in reader.all("nav a"):
        target = str(link.get_attribute("href")).partition("#")[2]
        assert len(reader.all(f"[id='{target}']")) == 1
    unnamed = "return [...document.querySelectorAll('[role=region]')].filter(e => !e.ariaLabel)"
    assert reader.js(unnamed) == []
    ids = reader.js("return [...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("kind", KINDS)
def test_the_keyboard_reaches_every_box_that_scrolls(reader: Reader, html: str) -> None:
    reader.open(html, device=PHONE)
    assert reader.js(STUCK) == []
    body = reader.driver.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.TAB)
    assert reader.js("return document.activeElement.className") == "skip"
    assert reader.js("return document.activeElement.getBoundingClientRect().left") >= 0


def test_every_check_host_and_stage_of_the_run_is_shown(reader: Reader) -> None:
    reader.open(page(record()))
    text, found = reader.text(), documents()
    for gate in found["03-api-checks.json"].values():
        for check in gate["results"]:
            assert check["name"] in text
            assert " ".join(check["expected"].split()) in text
    for timings in found["05-timings.json"]["hosts"].values():
        for one in timings:
            assert one["stage"].replace("abort", "going back") in text
    for roll in found["06-run.json"]["rolls"]:
        assert roll["word"] in text
    assert "took back what was begun" in text
    assert "ticket 4711" in text


def test_a_hostile_log_line_is_text(reader: Reader) -> None:
    reader.open(page(record()))
    assert '<script>alert("from a log line")</script>' in reader.text()
    assert reader.complaints() == []


@pytest.mark.parametrize("kind", ["dashboard"])
def test_a_report_is_one_click_away(reader: Reader, html: str) -> None:
    reader.open(html)
    assert "web3: no route to host" in reader.text()
    reader.driver.find_element(By.PARTIAL_LINK_TEXT, "report").click()
    assert "crm v1.2.0 on prod" in reader.text()
    assert reader.complaints() == []
