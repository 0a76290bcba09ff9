"""The 64 resources, declared once. Every tool gets them from here, and so does the check."""

from __future__ import annotations

import functools
import hashlib
import json
import random
from dataclasses import asdict, dataclass
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template

__all__ = ["STATE", "File", "Link", "State", "lay_out", "rendered", "values"]

ROOT = "/srv/warehouse"
SERVICES = ("intake", "stock", "orders", "billing", "archive")
BINARY_BYTES = 15 << 20

CONFIG = """\
# {service}: made by the deploy, do not edit
[server]
listen = {{{{ address }}}}:{port}
workers = {{{{ workers }}}}
public_url = https://{{{{ domain }}}}/{service}

[database]
host = {{{{ database_host }}}}
name = warehouse_{service}
pool = {{{{ pool }}}}
timeout = {{{{ timeout }}}}
"""
ENVIRONMENT = """\
WAREHOUSE_SERVICE={service}
WAREHOUSE_STAGE={{{{ stage }}}}
WAREHOUSE_DOMAIN={{{{ domain }}}}
WAREHOUSE_DATABASE=postgresql://{{{{ database_host }}}}/warehouse_{service}
WAREHOUSE_WORKERS={{{{ workers }}}}
"""
LOGGING = """\
version: 1
root: {{level: {{{{ log_level }}}}, handlers: [file]}}
handlers:
  file:
    class: logging.handlers.RotatingFileHandler
    filename: {root}/log/{service}.log
    maxBytes: {{{{ log_bytes }}}}
    backupCount: 5
"""
LIMITS = """\
# requests per minute on {service}
anonymous {{{{ rate }}}}
known {{{{ rate }}}}0
burst {{{{ burst }}}}
"""
UNIT = """\
[Unit]
Description=Warehouse {service}
After=network.target

[Service]
User=warehouse
ExecStart={root}/bin/warehouse {service}
Restart=on-failure

[Install]
WantedBy=multi-user.target
"""
SITE = """\
server {
    listen 8064;
    server_name warehouse.example.net;
    root /srv/warehouse/www;
    location / { try_files $uri $uri/ =404; }
}
"""


@dataclass(frozen=True)
class File:
    """A file with `text`, a template of values or final; `source` is its name among the sources."""

    path: str
    source: str
    text: str
    mode: str = "0644"
    user: str = "root"
    group: str = "root"


@dataclass(frozen=True)
class Directory:
    path: str
    mode: str = "0755"
    user: str = "root"
    group: str = "root"


@dataclass(frozen=True)
class Link:
    path: str
    target: str


@dataclass(frozen=True)
class State:
    """What is to be true on every host."""

    user: str
    home: str
    shell: str
    directories: tuple[Directory, ...]
    templates: tuple[File, ...]
    files: tuple[File, ...]
    binary: str  # its path; mode 0755, root's
    units: tuple[File, ...]  # enabled and running, each
    packages: tuple[str, ...]
    links: tuple[Link, ...]
    site: File
    site_link: Link
    sysctl: tuple[str, str]
    sysctl_file: File

    def __len__(self) -> int:
        """Count resources: a unit is two, its file and its service; site and sysctl are one."""
        lists = (self.directories, self.templates, self.files, self.packages, self.links)
        return (
            sum(map(len, lists)) + 2 * len(self.units) + len(("user", "binary", "site", "sysctl"))
        )


def _templates(number: int, service: str) -> list[File]:
    texts = {"ini": CONFIG, "env": ENVIRONMENT, "yaml": LOGGING, "limits": LIMITS}
    return [
        File(
            f"{ROOT}/conf/{service}/{service}.{kind}",
            f"{service}.{kind}.j2",
            text.format(service=service, root=ROOT, port=9000 + number)
            # One file, and only one, says which edition this is: changing it is "one file of 64".
            + ("edition {{ edition }}\n" if (service, kind) == ("intake", "limits") else ""),
            *(("0640", "root", "warehouse") if kind == "env" else ()),
        )
        for kind, text in texts.items()
    ]


def _files(service: str) -> list[File]:
    table = "\n".join(f"  column_{n} text NOT NULL DEFAULT ''," for n in range(40))
    schema = f"CREATE TABLE {service} (\n{table}\n  id bigint PRIMARY KEY\n);\n"
    page = f"<!doctype html><title>{service}</title><h1>{service}</h1>\n" + "<p>text</p>\n" * 100
    return [
        File(f"{ROOT}/data/{service}.sql", f"{service}.sql", schema, "0640", "root", "warehouse"),
        File(f"{ROOT}/www/{service}.html", f"{service}.html", page),
    ]


STATE = State(  # noqa: S604 - shell is the account's
    user="warehouse",
    home="/nonexistent",
    shell="/usr/sbin/nologin",
    directories=(
        Directory(ROOT),
        *(Directory(f"{ROOT}/{name}") for name in ("bin", "conf", "data", "www")),
        *(
            Directory(f"{ROOT}/{name}", "0750", "warehouse", "warehouse")
            for name in ("log", "spool")
        ),
        *(Directory(f"{ROOT}/conf/{service}") for service in SERVICES),
    ),
    templates=tuple(
        file for number, service in enumerate(SERVICES) for file in _templates(number, service)
    ),
    files=tuple(file for service in SERVICES for file in _files(service)),
    binary=f"{ROOT}/bin/warehouse",
    units=tuple(
        File(
            f"/etc/systemd/system/warehouse-{service}.service",
            f"warehouse-{service}.service",
            UNIT.format(service=service, root=ROOT),
        )
        for service in SERVICES
    ),
    # All but the last are on a lab host from the start.
    packages=("nginx-light", "curl", "sqlite3", "openssl", "tree"),
    links=(
        Link("/etc/warehouse", f"{ROOT}/conf"),
        Link("/usr/local/bin/warehouse", f"{ROOT}/bin/warehouse"),
        Link(f"{ROOT}/current", "www"),
    ),
    site=File("/etc/nginx/sites-available/warehouse.conf", "site.conf", SITE),
    site_link=Link("/etc/nginx/sites-enabled/warehouse.conf", "../sites-available/warehouse.conf"),
    sysctl=("net.ipv4.tcp_keepalive_time", "600"),
    sysctl_file=File(
        "/etc/sysctl.d/64-warehouse.conf", "sysctl.conf", "net.ipv4.tcp_keepalive_time = 600\n"
    ),
)
assert len(STATE) == 64


def values(edition: int) -> dict[str, str]:
    """Return what the templates are rendered with."""
    return {
        "address": "127.0.0.1",
        "workers": "4",
        "domain": "warehouse.example.net",
        "database_host": "db.example.net",
        "pool": "12",
        "timeout": "30",
        "stage": "production",
        "log_level": "INFO",
        "log_bytes": "1048576",
        "rate": "60",
        "burst": "20",
        "edition": str(edition),
    }


def rendered(file: File, edition: int) -> str:
    """Return the text of a file as it is to be on a host."""
    return _template(file.text).render(values(edition))


@functools.cache  # as templates loaded from a folder are
def _template(text: str) -> Template:
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)  # noqa: S701
    return environment.from_string(text)


def lay_out(folder: Path) -> str:
    """Write the sources into `folder`, as a project of any tool has them; return the binary's sum.

    templates/, files/ (final texts), bin/warehouse (the binary), and state.json for all the rest.
    """
    for name, files in {
        "templates": STATE.templates,
        "files": (*STATE.files, *STATE.units, STATE.site, STATE.sysctl_file),
    }.items():
        (folder / name).mkdir()
        for file in files:
            (folder / name / file.source).write_text(file.text)
    # Runs, and is as large and as hard to compress as a program with everything in it.
    program = b"#!/bin/sh\nexec /usr/bin/sleep infinity\n"
    body = program + random.Random(64).randbytes(BINARY_BYTES - len(program))  # noqa: S311
    (folder / "bin").mkdir()
    (folder / "bin/warehouse").write_bytes(body)
    (folder / "state.json").write_text(json.dumps(asdict(STATE)))
    return hashlib.sha256(body).hexdigest()
