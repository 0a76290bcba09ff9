"""Ten updates and ten rollbacks under strict load: nothing fails, nothing acknowledged is lost."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from engine_kit import Kit

from stackpin.lab import Lab, LabHost
from stackpin.lab.traffic import traffic

ROUNDS = 10
LEAST_REQUESTS = 20_000
RATE = 150.0  # requests per second over 32 keep-alive and 8 one-shot connections


@pytest.mark.timeout(1200)
def test_twenty_switches_under_load_fail_no_request(
    lab: Lab, host: LabHost, tmp_path: Path
) -> None:
    kit = Kit.make(lab, host, tmp_path)
    kit.deploy("site").exits(0)
    with traffic(lab, host.name, rate=RATE) as load:
        started = time.monotonic()
        for _ in range(ROUNDS):
            kit.stackpin("update", "crm", "--version", "v1.1.0", "--yes").exits(0)
            kit.stackpin("rollback", "crm", "--yes").exits(0)
        while (time.monotonic() - started) * RATE < LEAST_REQUESTS * 1.1:
            time.sleep(1)
        result = load.stop()
    assert result.failed == 0, (result.failed_by_kind, result.samples)
    assert result.lost == []
    assert result.requests >= LEAST_REQUESTS
    assert len(result.acknowledged) > LEAST_REQUESTS / 10
    # Both versions answered, so the switches really took the traffic along.
    assert {version for version, answers in result.versions.items() if answers > 100} >= {
        "v1.0.0",
        "v1.1.0",
    }
