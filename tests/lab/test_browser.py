"""The browser tests again, on a deployed host: real nginx, TLS, policy and repository."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from engine_kit import Kit
from project import REPOSITORY

from stackpin.lab import Lab, LabHost
from stackpin.lab.secret import secret


@pytest.mark.timeout(900)
def test_the_portal_of_a_lab_host_in_a_browser(lab: Lab, host: LabHost, tmp_path: Path) -> None:
    Kit.make(lab, host, tmp_path).deploy("site").exits(0)
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    env["STACKPIN_PORTAL_URL"] = f"https://{host.address}"
    env["STACKPIN_PORTAL_PASSWORD"] = secret("crm-admin-token", lab.paths)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/browser"],
        cwd=REPOSITORY, env=env, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert " skipped" not in done.stdout, done.stdout
