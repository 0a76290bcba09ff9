"""A portal to look at, and a browser to look with.

With `STACKPIN_PORTAL_URL` (and `STACKPIN_PORTAL_PASSWORD`) set, the same tests drive a portal on a
lab host; without it they start a CRM and a stand-in for nginx on loopback.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from selenium import webdriver

from stackpin.lab.apps.crm.build import build
from stackpin.lab.apps.crm.preview import Preview

ROOT = Path(__file__).resolve().parents[2]
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1280,900",
)


@dataclass(frozen=True)
class Portal:
    url: str
    password: str
    username: str = "admin"


@pytest.fixture(scope="session")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    if url := os.environ.get("STACKPIN_PORTAL_URL"):
        yield Portal(url.rstrip("/"), os.environ["STACKPIN_PORTAL_PASSWORD"])
        return
    folder = tmp_path_factory.mktemp("crm")
    subprocess.run(["git", "init", "-q", str(folder / "repo")], check=True)
    program = build(folder, ["v1.0.0"])["v1.0.0"]
    process = subprocess.Popen(
        [sys.executable, str(program)],
        env={
            "PATH": os.environ["PATH"],
            "SUB2API_CRM_ADMIN_TOKEN": "token-of-the-browser-test",
            "SUB2API_CRM_ADMIN_PASSWORD": "pässword & more",
            "SUB2API_CRM_LISTEN_ADDR": "127.0.0.1:0",
            "SUB2API_CRM_SQLITE_DSN": f"file:{folder}/crm.db?_foreign_keys=on&_busy_timeout=5000",
            "SUB2API_CRM_REPO_ROOT": str(folder / "repo"),
        },
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    address = process.stdout.readline().split("listens on ")[1].split(",")[0]
    server = Preview(address, ROOT / "portal")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Portal(server.url, "pässword & more")
    finally:
        server.shutdown()
        server.server_close()
        process.terminate()
        process.wait(15)


@pytest.fixture(scope="session")
def portal_url(portal: Portal) -> str:
    return portal.url


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    if not Path("/usr/bin/chromedriver").exists():
        pytest.skip("needs Chromium: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    options.accept_insecure_certs = True  # a lab host signs for itself
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))
    driver.implicitly_wait(0)
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    folder = Path(os.environ.get("STACKPIN_SCREENSHOTS") or tmp_path / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
