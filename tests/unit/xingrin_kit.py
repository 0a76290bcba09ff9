"""Settings of a small XingRin fleet, for tests."""

from stackpin.config.load import load
from stackpin.config.xingrin import XingrinServer, XingrinWorker

DIGEST = "sha256:" + "a" * 64
DATA = {
    "xingrin_version": "v1.2.0",
    "xingrin_registry": "10.0.0.5:5000",
    "xingrin_public_host": "10.0.0.10",
    "xingrin_lock_file": "inventories/x.lock.toml",
}


def server(**more):
    return load(XingrinServer, "xingrin_", _data(more), "server")


def worker(**more):
    return load(XingrinWorker, "xingrin_", _data(more), "node1")


def images(settings, digest=DIGEST):
    return {role: f"{ref}@{digest}" for role, ref in settings.images().items()}


def _data(more):
    data = DATA | {f"xingrin_{name}": value for name, value in more.items()}
    production = data.pop("xingrin_stackpin_production", None)
    return data if production is None else data | {"stackpin_production": production}
