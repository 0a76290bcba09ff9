"""The registry of a lab: where it is, how to log in, what is in it."""

import base64
import json
import uuid
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from stackpin.errors import StackpinError
from stackpin.lab.registry.catalogue import NAMESPACES, choose, namespace_of
from stackpin.lab.registry.model import BuiltImage
from stackpin.lab.registry.service import PORT, RESTART, SERVICE, configure, wait
from stackpin.lab.registry.tls import Authority, Pair, write_private
from stackpin.lab.secret import secret

if TYPE_CHECKING:
    from stackpin.lab.hosts import Lab
    from stackpin.lab.registry.push import Pusher

__all__ = ["HOST", "LabRegistry"]

HOST = "registry"
USER = "lab"
SECRET = "registry-password"  # noqa: S105 - the name of the secret


class LabRegistry:
    """A registry on the lab's host `registry`, with TLS by the lab's own authority and a login."""

    def __init__(self, lab: "Lab") -> None:
        self.lab = lab
        self.authority = Authority(lab.paths.registry)

    @property
    def address(self) -> str:
        """Host and port, as image names carry them; StackpinError without that host."""
        return f"{self.lab.host(HOST).address}:{PORT}"

    @property
    def url(self) -> str:
        """Where its API answers."""
        return f"https://{self.address}"

    @property
    def ca(self) -> Path:
        """PEM file on this machine of the authority to trust; there once `start` has run."""
        return self.authority.certificate

    @property
    def username(self) -> str:
        """Who may pull and push."""
        return USER

    @property
    def password(self) -> str:
        """The login's password, made up on first use."""
        return secret(SECRET, self.lab.paths)

    @property
    def namespace(self) -> str:
        """First part of the names of XingRin's repositories."""
        return NAMESPACES["xingrin"]

    @property
    def root(self) -> Path:
        """The root directory of the registry's host as this machine sees it."""
        host = self.lab.state().host(HOST)
        return self.lab.paths.machine(host.name, host.number).root

    @property
    def pusher(self) -> "Pusher":
        """Pushes XingRin's images to this registry."""
        from stackpin.lab.registry.push import Pusher  # noqa: PLC0415 - inventories need none

        return Pusher(self.address, self.ca, self.username, self.password, self.namespace)

    def start(self) -> None:
        """Have the registry's host up and the registry serving; nothing when it does already."""
        if not self.running():
            self.lab.up(names=[HOST], docker=True)
        self.authority.make()
        self.serve(self.certificate())

    def running(self) -> bool:
        """Tell whether the registry's host is up."""
        try:
            state = self.lab.state()
            return self.lab.machine(state, state.host(HOST)).running
        except StackpinError:
            return False

    def certificate(self) -> Pair:
        """Give the server's certificate: made once per address, so that a restart changes none."""
        host = self.lab.host(HOST)
        folder = self.lab.paths.registry / host.address
        pem, key = folder / "server.pem", folder / "server.key"
        if not pem.exists():
            folder.mkdir(exist_ok=True, mode=0o700)
            pair = self.authority.sign(host.address, host.name)
            write_private(key, pair.key)
            write_private(pem, pair.certificate)
        return Pair(pem.read_bytes(), key.read_bytes())

    def serve(self, pair: Pair, port: int = PORT) -> None:
        """Configure and start the registry with this certificate, and wait until it answers."""
        login = (self.username, self.password)
        changed = configure(self.root, pair, login, port)
        start = RESTART if changed else f"systemctl start {SERVICE}"
        self.lab.report("starting the registry")
        self.lab.run(HOST, f"systemctl enable --quiet {SERVICE} && {{ {start}; }}")
        wait(f"{self.lab.host(HOST).address}:{port}", self.ca, login)

    def push(self, words: Sequence[str] = ("all",)) -> dict[str, str]:
        """Push the images that `words` name (`catalogue.choose`); built here if not cached.

        Returns digest by reference (`10.0.0.5:5000/yyhuni/xingrin-server:v1.1.0`). Refused for a
        word that names nothing.
        """
        pushed: dict[str, str] = {}
        for namespace, some in groupby(self.images(words), lambda image: namespace_of(image.name)):
            pusher = replace(self.pusher, namespace=namespace)
            pushed |= pusher.push(some, self.lab.report)
        return pushed

    def images(self, words: Sequence[str]) -> list[BuiltImage]:
        """Choose from the lab's own images, by name; see `push`."""
        return choose(words, self.lab.paths.cache, self.lab.report)

    def move_tag(self, name: str, tag: str) -> str:
        """Push other content under a tag that is there; returns the new digest."""
        pusher = replace(self.pusher, namespace=namespace_of(name))
        return pusher.move_tag(name, tag, uuid.uuid4().hex)

    def trust(self, *hosts: str) -> None:
        """Let Docker on these hosts pull without a deploy: the authority and a login file.

        The login is in /etc/stackpin/docker/config.json, where Stackpin's own Docker calls look.
        """
        login = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        document = json.dumps({"auths": {self.address: {"auth": login}}})
        for name in hosts:
            host = self.lab.state().host(name)
            root = self.lab.paths.machine(host.name, host.number).root
            trusted = root / "etc/docker/certs.d" / self.address
            trusted.mkdir(parents=True, exist_ok=True)
            (trusted / "ca.crt").write_bytes(self.ca.read_bytes())
            folder = root / "etc/stackpin/docker"
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_private(folder / "config.json", document.encode())
