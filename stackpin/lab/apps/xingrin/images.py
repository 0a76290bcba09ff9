"""What is in each image: Debian layers below, our own files on top, and how it is started.

build(cache) -> {("xingrin-server", "v1.1.0"): BuiltImage, ...}
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stackpin.lab.apps.xingrin.debian import debian_layers, folder_of
from stackpin.lab.apps.xingrin.layers import File, files_layer
from stackpin.lab.apps.xingrin.versions import POSTGRES, REDIS, VERSIONS, XINGRIN, missing
from stackpin.lab.commands import Report
from stackpin.lab.registry.model import BuiltImage, Layer

__all__ = ["app_files", "build", "describe", "settings"]

HERE = Path(__file__).parent
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
UTF8 = "LANG=C.UTF-8"
EXECUTABLE = 0o755
MANAGE = "import sys\n\nfrom xingrin.manage import main\n\nsys.exit(main(sys.argv[1:]))\n"

DEBIAN = {
    "xingrin-server": ("base", "python"),
    "xingrin-frontend": ("base", "python"),
    "xingrin-nginx": ("base", "nginx"),
    "xingrin-worker": ("base",),
    "xingrin-agent": ("base",),
    "postgres": ("base", "postgres"),
    "redis": ("base", "redis"),
}
"""Image -> the Debian layers below its own, lowest first."""

FILES = {
    "xingrin-frontend": {"app/server.py": "frontend.py"},
    "xingrin-nginx": {"etc/nginx/nginx.conf": "nginx.conf"},
    "xingrin-worker": {"app/worker.sh": "worker.sh"},
    "xingrin-agent": {"app/agent.sh": "agent.sh"},
    "postgres": {"usr/local/bin/docker-entrypoint.sh": "postgres.sh"},
    "redis": {"usr/local/bin/docker-entrypoint.sh": "redis.sh"},
}
"""Image -> path in the image -> file in `files/`."""


def build(cache: Path, report: Report = lambda _line: None) -> dict[tuple[str, str], BuiltImage]:
    """Make every image there is; (name, tag) -> image.

    `cache` is the lab's cache directory. The first build needs root, a Debian archive and about a
    minute; with a full cache it is a matter of milliseconds. Refused when this machine cannot
    build, StackpinError when a program fails.
    """
    debian = debian_layers(cache, report)
    own = folder_of(cache) / "own"
    return {image: describe(*image, debian, own) for image in wanted()}


def wanted() -> list[tuple[str, str]]:
    """Every (name, tag) that is published."""
    tagged = [(name, tag) for tag in VERSIONS for name in XINGRIN if not missing(name, tag)]
    return [*tagged, POSTGRES, REDIS]


def describe(name: str, tag: str, debian: Mapping[str, Layer], own: Path) -> BuiltImage:
    """Make one image; its own layer is written to the directory `own`."""
    layers = [debian[layer] for layer in DEBIAN[name]]
    layers.append(files_layer(own, app_files(name, tag)))
    return BuiltImage.make(name, tag, tuple(layers), settings(name, tag))


def app_files(name: str, tag: str) -> dict[str, File]:
    """Collect our own files of an image: path in the image (no leading slash) -> file."""
    files = {
        inside: File((HERE / "files" / source).read_bytes(), _mode(source))
        for inside, source in FILES.get(name, {}).items()
    }
    if name == "xingrin-server":
        files |= {
            "app/start.sh": File((HERE / "files/start.sh").read_bytes(), EXECUTABLE),
            "app/backend/manage.py": File(MANAGE),
        }
        files |= {
            f"app/backend/xingrin/{path.name}": File(path.read_bytes())
            for path in (HERE / "server").glob("*.py")
        }
    if name in {"xingrin-server", "xingrin-frontend"}:
        files["usr/local/bin/python"] = File('#!/bin/sh\nexec python3 "$@"\n', EXECUTABLE)
    if name in XINGRIN:
        files["app/VERSION"] = File(f"{tag}\n")
    return files


def settings(name: str, tag: str) -> dict[str, Any]:
    """Write the part of the image configuration that Docker calls `config`."""
    common = {"Env": [PATH, UTF8], "Labels": {"org.opencontainers.image.version": tag}}
    return {**common, **_OWN[name](tag)}


def _mode(source: str) -> int:
    return EXECUTABLE if source.endswith(".sh") else 0o644


def _server(_tag: str) -> dict[str, Any]:
    return {
        "Env": [PATH, UTF8, "PYTHONUNBUFFERED=1"],
        "WorkingDir": "/app/backend",
        "Cmd": ["/app/start.sh"],
        "ExposedPorts": {"8888/tcp": {}},
    }


def _frontend(tag: str) -> dict[str, Any]:
    return {
        "Env": [PATH, UTF8, "PYTHONUNBUFFERED=1", f"IMAGE_TAG={tag}"],
        "WorkingDir": "/app",
        "User": "1001",
        "Cmd": ["python3", "server.py"],
        "ExposedPorts": {"3000/tcp": {}},
    }


def _nginx(_tag: str) -> dict[str, Any]:
    return {
        "Cmd": ["nginx", "-g", "daemon off;"],
        "ExposedPorts": {"8083/tcp": {}},
        "StopSignal": "SIGQUIT",
    }


def _worker(_tag: str) -> dict[str, Any]:
    return {"WorkingDir": "/app/backend", "Cmd": ["/app/worker.sh"]}


def _agent(tag: str) -> dict[str, Any]:
    # The version is baked in at build time; the environment of the container goes before it.
    return {
        "Env": [PATH, UTF8, f"IMAGE_TAG={tag}"],
        "WorkingDir": "/app",
        "Cmd": ["bash", "/app/agent.sh"],
    }


def _postgres(_tag: str) -> dict[str, Any]:
    binaries = "/usr/lib/postgresql/17/bin"
    return {
        "Env": [
            PATH.replace("PATH=", f"PATH={binaries}:"),
            UTF8,
            "PG_MAJOR=17",
            "PGDATA=/var/lib/postgresql/data",
        ],
        "Entrypoint": ["docker-entrypoint.sh"],
        "Cmd": ["postgres"],
        "ExposedPorts": {"5432/tcp": {}},
        "Volumes": {"/var/lib/postgresql/data": {}},
        # Fast shutdown: clients are disconnected instead of waited for.
        "StopSignal": "SIGINT",
    }


def _redis(_tag: str) -> dict[str, Any]:
    return {
        "Entrypoint": ["docker-entrypoint.sh"],
        "Cmd": ["redis-server"],
        "WorkingDir": "/data",
        "ExposedPorts": {"6379/tcp": {}},
        "Volumes": {"/data": {}},
    }


_OWN = {
    "xingrin-server": _server,
    "xingrin-frontend": _frontend,
    "xingrin-nginx": _nginx,
    "xingrin-worker": _worker,
    "xingrin-agent": _agent,
    "postgres": _postgres,
    "redis": _redis,
}
