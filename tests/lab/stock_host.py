"""The stock command line against one lab host, for test_stock.py."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import requests
from project import Project, Ran

TOKEN = "lab $HOME `id` & | / \" ' \\ token-of-the-admin"
GATE = {"settle": 0.5, "min_healthy": 2.0, "interval": 0.5, "consecutive": 2, "timeout": 10.0}


class Stock(Project):
    DATA: ClassVar[dict[str, object]] = {
        "crm_admin_token": "env:TEST_STOCK_TOKEN",
        "crm_gate": GATE,
    }
    ENVIRONMENT: ClassVar[dict[str, str]] = {"TEST_STOCK_TOKEN": TOKEN}

    def pyinfra(self, deploy: str, *words: str, **data: object) -> Ran:
        ran = self.program(self.pyinfra_argv(deploy, *(words or ("-y",)), **data))
        return Ran(ran.code, plain(ran.out), plain(ran.err))

    def get(self, path: str, scheme: str = "https", **options: Any) -> requests.Response:
        options = {"verify": False, "allow_redirects": False} | options
        return requests.request(
            str(options.pop("method", "GET")),
            f"{scheme}://{self.host.address}{path}",
            timeout=10,
            **options,
        )

    def api(self, path: str, **options: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return self.get(f"/portal-admin-api{path}", headers=headers, **options)

    def pids(self) -> str:
        return self.on_host(
            "systemctl show -p Id,MainPID,ExecMainStartTimestampMonotonic"
            " crm@blue crm@green nginx stackpin-boot@crm"
        )


def plain(text: str) -> str:
    """The text without its colours."""
    return re.sub(r"\x1b\[\d*m", "", text)


def changed(ran: Ran) -> list[str]:
    """Operations that did something, from the table pyinfra prints at the end."""
    rows = re.findall(r"^    (\S.*?)  +1 +1 +- +- *$", ran.text, re.M)
    return [row.rpartition("| ")[2] for row in rows]
