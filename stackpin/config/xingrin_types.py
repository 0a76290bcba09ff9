"""The small types of image references, networks and mirrors."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

from stackpin.config.problems import invalid
from stackpin.config.types import is_host_name

DOCKER_HUB = "docker.io"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"


def _registry(value: str) -> str:
    match = re.fullmatch(r"(?P<host>\[[0-9a-fA-F:]+\]|[^:/@\s]+)(?::(?P<port>[0-9]{1,5}))?", value)
    host = match["host"].strip("[]") if match else ""
    if not match or not is_host_name(host) or not 0 < int(match["port"] or 1) < 65536:
        raise invalid(
            'a registry as host or host:port, such as "10.0.0.5:5000" or "docker.io"',
            "Write neither a scheme nor a path; the path belongs to xingrin_namespace.",
        )
    return value


def _namespace(value: str) -> str:
    if not re.fullmatch(rf"{_PART}(?:/{_PART})*", value):
        raise invalid("a path of small letters, digits and . _ - such as yyhuni", "Write it so.")
    return value


def _image(value: str) -> str:
    match = re.fullmatch(rf"(?P<repository>[A-Za-z0-9.:/_-]+):(?P<tag>{_TAG})", value)
    repository = match["repository"] if match else ""
    host, slash, rest = repository.partition("/")
    # As docker reads it: the first part is a registry when it could not be a folder of one.
    path = rest if slash and (set(host) & {".", ":"} or host == "localhost") else repository
    if not match or not re.fullmatch(rf"{_PART}(?:/{_PART})*", path):
        raise invalid('an image with its tag, such as "postgres:15"', "Write name:tag.")
    if match["tag"] == "latest":
        raise invalid(
            "an image with a tag other than latest",
            "latest is not a version: what runs could not be told. Name one, such as postgres:15.",
        )
    return value


def _network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value))
    except ValueError:
        raise invalid(
            'an address or a network such as "192.0.2.7" or "192.0.2.0/24"',
            "Write the network's first address and its length.",
        ) from None


def _mirror(value: str) -> str:
    try:
        parts = urlsplit(value)
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, sound = urlsplit(""), False
    plain = all(c.isprintable() and not c.isspace() for c in value)
    if not sound or not plain or "@" in parts.netloc or parts.path.strip("/") or parts.query:
        raise invalid(
            "http:// or https:// and a host, without user and path",
            "Write it as https://mirror.example.org.",
        )
    return value.rstrip("/")


def _container_name(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,30}", value):
        raise invalid("small letters, digits, _ and -, at most 31", "Choose such a name.")
    return value


def _sql_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,62}", value):
        raise invalid("letters, digits and _, at most 63", "Choose such a name.")
    return value


def _node_name(value: str) -> str:
    if not value.strip() or len(value) > 100 or any(not c.isprintable() for c in value):
        raise invalid("a name of 1 to 100 printable characters", "Name one.")
    return value


RegistryName = Annotated[str, AfterValidator(_registry)]
Namespace = Annotated[str, AfterValidator(_namespace)]
ImageTag = Annotated[str, AfterValidator(_image)]
Network = Annotated[str, AfterValidator(_network)]
MirrorUrl = Annotated[str, AfterValidator(_mirror)]
ProjectName = Annotated[str, AfterValidator(_container_name)]
SqlName = Annotated[str, AfterValidator(_sql_name)]
NodeName = Annotated[str, AfterValidator(_node_name)]
