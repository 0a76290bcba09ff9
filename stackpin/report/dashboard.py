"""The dashboard: the page of a whole inventory."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from stackpin.errors import Refused
from stackpin.exposition import replace
from stackpin.report.page import render
from stackpin.report.view import machine_rows
from stackpin.report.words import TONES

__all__ = ["dashboard", "write"]

Values = Mapping[str, Any]
RESOURCES = ("CPU load (1, 5, 15 min)", "Memory", "Disk")


def write(document: Values, folder: Path) -> Path:
    """Write index.html and dashboard.json into `folder`; return the page's path. Raises Refused.

    Each file is replaced in one step. A folder that is made is for its owner only.
    """
    page = folder / "index.html"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace(folder / "dashboard.json", json.dumps(document, indent=2, sort_keys=True) + "\n")
        replace(page, dashboard(document, folder))
    except OSError as error:
        raise Refused(f"--out {folder}: {error.strerror or error}; expected a folder") from error
    return page


def dashboard(document: Values, folder: Path) -> str:
    """Return the page of an overview (care.overview) that is to lie in `folder`."""
    hosts = document["hosts"]
    every = [{**one, "host": host["host"]} for host in hosts for one in host["stacks"]]
    asked = [one for one in every if one["release"] != "not asked"]
    away = [host for host in hosts if host["error"]]
    looks = list(_looks(hosts, asked))
    stacks = {one["stack"]: [] for one in every}  # type: dict[str, list[dict[str, Any]]]
    for one in every:
        stacks[one["stack"]].append({**one, **_health(one)})
    healthy = sum(one["healthy"] is True for one in asked)
    pinned = [one for one in asked if one["pin"]]
    at_pin = sum(one["pin"] == one["version"] for one in pinned)
    findings = sum(len(one["findings"]) for one in asked)
    return render(
        "dashboard.html.j2",
        {
            "title": f"{document['inventory']}: all stacks",
            "about": document,
            "created": document["created"].replace("T", " ").replace("+00:00", " UTC"),
            "tiles": [
                _tile("Hosts that answer", len(hosts) - len(away), len(hosts)),
                _tile("Services healthy", healthy, len(every)),
                _tile("At their pinned version", at_pin, len(pinned), "warn"),
                {"label": "Findings", "value": findings, "tone": "warn" if findings else "ok"},
            ],
            "looks": looks,
            "stacks": stacks,
            "machines": [
                {"host": host["host"], "cells": _cells(host["machine"])}
                for host in hosts
                if host["machine"]
            ],
            "resources": RESOURCES,
            "reports": [
                {**one, "link": _link(one["report"], folder), "tone": _tone(one)}
                for one in document["reports"]
            ],
        },
    )


def _tile(label: str, good: int, all_: int, less: str = "bad") -> dict[str, Any]:
    return {"label": label, "value": f"{good} of {all_}", "tone": "ok" if good == all_ else less}


def _cells(machine: Values) -> list[str]:
    """Return what a machine's row shows below RESOURCES."""
    found = {row["label"]: row["after"] for row in machine_rows(None, machine)}
    return [found.get(label, "") for label in RESOURCES]


def _health(one: Values) -> dict[str, str]:
    """Return {word, tone} of a stack's health on one host."""
    if one["release"] == "not asked":
        return {"word": "not reached", "tone": "bad"}
    if one["healthy"] is None:
        return {"word": "not known", "tone": "plain"}
    percent = f"{100 * one['health']:.0f} %"
    if not one["healthy"]:
        return {"word": f"failed, {percent}", "tone": "bad"}
    return {"word": percent, "tone": "ok" if one["health"] >= 1 else "warn"}


def _looks(hosts: Any, asked: list[dict[str, Any]]) -> Iterator[dict[str, str]]:  # noqa: ANN401
    """Yield {tone, where, text} for everything that wants a look, the worst first."""
    for host in hosts:
        if host["error"]:
            yield {"tone": "bad", "where": host["host"], "text": f"not reached: {host['error']}"}
    for one in asked:
        where = f"{one['host']} {one['stack']}"
        if one["error"]:
            yield {"tone": "bad", "where": where, "text": one["error"]}
        for check in (one["gate"] or {}).get("results") or []:
            if not check["ok"]:
                told = f"check {check['name']}: expected {check['expected']}, got {check['got']}"
                yield {"tone": "bad" if check["required"] else "warn", "where": where, "text": told}
    for one in asked:
        where = f"{one['host']} {one['stack']}"
        for finding in one["findings"]:
            yield {"tone": "warn", "where": where, "text": f"drift: {finding['message']}"}
        if one["pin"] and one["pin"] != one["version"]:
            told = f"pinned {one['pin'].removesuffix(' (not live)')}, running {one['release']}"
            yield {"tone": "warn", "where": where, "text": told}
        if one["maintenance"]:
            yield {"tone": "warn", "where": where, "text": "maintenance is on"}


def _tone(report: Values) -> str:
    return "bad" if report["problem"] else TONES.get(str(report["outcome"]), "plain")


def _link(page: str | None, folder: Path) -> str | None:
    return None if page is None else quote(os.path.relpath(page, folder))
