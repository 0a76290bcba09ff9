"""One image per service and version: Debian's Python below, and what the service needs above.

build(cache) -> {("infracore-console", "v1.1.0"): BuiltImage, ...}
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stackpin.lab.apps.infracore.app.main import SERVICES
from stackpin.lab.apps.infracore.build import ALL, binary, build_ui, sources
from stackpin.lab.apps.xingrin.debian import debian_layers, folder_of
from stackpin.lab.apps.xingrin.layers import File, Folder, files_layer
from stackpin.lab.commands import Report
from stackpin.lab.registry.model import BuiltImage, Layer

__all__ = ["build", "describe"]

USER = 1001
DEBIAN = ("base", "python")
PORTS = {
    "gate": (80, 1080),
    "console": (8082,),
    "orchestrator": (9090,),
    "probe": (8085,),
    "snap": (8086,),
}
"""What a service listens on with the product's own configuration."""
OWNED: Mapping[str, File | Folder] = {
    # A new named volume takes its owner from the directory that it covers.
    "var/lib/infra-core": Folder(USER, 0o750),
    "var/log/infra-core": Folder(USER, 0o750),
    "app/configs": Folder(0),
}


def build(cache: Path, report: Report = lambda _line: None) -> dict[tuple[str, str], BuiltImage]:
    """Make every image there is; (name, tag) -> image.

    `cache` is the lab's cache directory. The Debian layers are those of the reference XingRin:
    what its builder says of time and needs holds here.
    """
    debian = debian_layers(cache, report)
    dist = build_ui(folder_of(cache) / "infracore")
    own = folder_of(cache) / "own"
    return {
        (name, version): image
        for version in ALL
        for name, image in describe(version, debian, dist, own).items()
    }


def describe(
    version: str, debian: Mapping[str, Layer], dist: Path, own: Path
) -> dict[str, BuiltImage]:
    """Make the five images of a version, name -> image; layers are written to `own`."""
    below = [*(debian[layer] for layer in DEBIAN), files_layer(own, OWNED)]
    files = sources(version)
    images = {}
    for service in SERVICES:
        program = File(binary(service, files), 0o755)
        layers = [*below, files_layer(own, {f"app/bin/{service}": program})]
        if service == "console":
            layers.append(_ui_layer(dist, own))
        name = f"infracore-{service}"
        images[name] = BuiltImage.make(name, version, tuple(layers), _settings(service, version))
    return images


def _ui_layer(dist: Path, own: Path) -> Layer:
    return files_layer(
        own,
        {
            f"app/ui/dist/{path.relative_to(dist)}": File(path.read_bytes())
            for path in dist.rglob("*.*")
        },
    )


def _settings(service: str, version: str) -> dict[str, Any]:
    """Write the part of the image configuration that Docker calls `config`."""
    return {
        "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8"],
        "Labels": {"org.opencontainers.image.version": version},
        "User": f"{USER}:{USER}",
        # The configuration is read from ./configs: /app/configs is mounted from outside.
        "WorkingDir": "/app",
        "Cmd": [f"/app/bin/{service}"],
        "ExposedPorts": {f"{port}/tcp": {} for port in PORTS[service]},
    }
