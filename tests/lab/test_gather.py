"""Facts gathered in one exec are what stock pyinfra reads one by one, on a real host."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from operator_seat import Seat
from project import host_name, run

from stackpin.lab import Lab

pytestmark = pytest.mark.timeout(900)
PROBE = Path(__file__).with_name("gather_probe.py")


@pytest.fixture(scope="module")
def seat(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Seat:
    made = Seat.make(lab, lab.reset(host_name(lab)), tmp_path_factory.mktemp("gather"))
    made.stackpin("deploy", "site", "--yes").exits(0)
    return made


def test_facts_and_hostile_output_equal_stock(seat: Seat) -> None:
    argv = [sys.executable, str(PROBE), "inventories/lab", "site", seat.host.name]
    told = run(argv, seat.folder, {**seat.ENVIRONMENT, "PYTHONPATH": "."}).exits(0).json
    assert told["compared"] > 12
    assert told["different"] == []
    assert told["hostile"] == []
    assert told["behind"] == []


@pytest.mark.parametrize(
    "drift", ["", "chmod 0600 /opt/crm; rm /etc/nginx/sites-enabled/stackpin*"]
)
def test_the_plan_is_the_one_that_single_facts_give(seat: Seat, drift: str) -> None:
    seat.on_host(drift or "true")
    words = seat.argv("plan", "site", "--json")
    plans = [
        run(words, seat.folder, {**seat.ENVIRONMENT, **way}).exits(2 if drift else 0).json["plan"]
        for way in ({}, {"STACKPIN_FACTS": "single"})
    ]
    assert {**plans[0], "created": ""} == {**plans[1], "created": ""}
    assert plans[0]["digest"] == plans[1]["digest"]


def test_a_host_where_nothing_can_be_gathered_is_asked_one_by_one(seat: Seat) -> None:
    # The login shell finds a gzip that fails: no script arrives.
    seat.on_host(
        "printf '#!/bin/sh\\nexit 1\\n' > /usr/local/bin/gzip; chmod 0755 /usr/local/bin/gzip"
    )
    try:
        ran = seat.stackpin("plan", "site", "--json").exits(2)
        assert "crm" in ran.out
    finally:
        seat.on_host("rm /usr/local/bin/gzip")
    seat.stackpin("deploy", "site", "--yes").exits(0)
    seat.stackpin("plan", "site").exits(0)
