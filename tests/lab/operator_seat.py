"""An operator's seat: looking after a host whose token holds every metacharacter."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, ClassVar

import requests
from project import Project, Ran

TOKEN = "seat $HOME `id` & | / \" ' \\ seat-admin-zq7x9k"
GATE = {"settle": 0.5, "min_healthy": 2.0, "interval": 0.5, "consecutive": 2, "timeout": 40.0}


@dataclass
class Seat(Project):
    all_output: list[str] = field(default_factory=list)

    DATA: ClassVar[dict[str, object]] = {"crm_admin_token": "env:SEAT_TOKEN", "crm_gate": GATE}
    ENVIRONMENT: ClassVar[dict[str, str]] = {"SEAT_TOKEN": TOKEN, "PYTHONUNBUFFERED": "1"}

    def program(self, argv: list[str]) -> Ran:
        ran = super().program(argv)
        self.all_output.append(ran.text)
        return ran

    def api(self, method: str, path: str, **options: Any) -> requests.Response:
        return requests.request(
            method,
            f"https://{self.host.address}/portal-admin-api{path}",
            headers={"Authorization": f"Bearer {TOKEN}"},
            verify=False,  # noqa: S501 -- the lab's own self-signed certificate
            timeout=10,
            **options,
        )

    def write_draft(self, name: str) -> None:
        body = {"pack_id": "pack", "provider_id": name, "manifest": {"name": name}}
        answer = self.api("POST", "/api/provider-drafts", json=body)
        assert answer.status_code == 201, answer.text

    def drafts(self) -> set[str]:
        found = self.api("GET", "/api/provider-drafts").json()["drafts"]
        return {draft["provider_id"] for draft in found}


def wait_for(what: Any, seconds: float = 20) -> None:
    """Wait until `what()` is true."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)
