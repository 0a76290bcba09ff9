"""Push built images to a registry by its HTTP API, without any Docker on this machine."""

import gzip
import io
import tarfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import urljoin

import requests

from stackpin.errors import StackpinError
from stackpin.lab.registry.model import (
    LAYER_TYPE,
    MANIFEST_TYPE,
    BuiltImage,
    Layer,
    canonical_json,
    digest_of,
)

__all__ = ["Pusher"]

PARALLEL = 4
TIMEOUT = 60.0
UPLOAD_TIMEOUT = 600.0


@dataclass(frozen=True)
class Pusher:
    """Pushes to `address` (host:port, always TLS) below `namespace`, logged in as `username`.

    Every failure is a StackpinError that names the registry, the image and the answer.
    """

    address: str
    ca: Path
    username: str
    password: str = field(repr=False)
    namespace: str

    def repository(self, name: str) -> str:
        """Name the repository of an image inside the registry."""
        return f"{self.namespace}/{name}"

    def reference(self, name: str, tag: str) -> str:
        """Name an image as `docker pull` takes it."""
        return f"{self.address}/{self.repository(name)}:{tag}"

    def push(
        self, images: Iterable[BuiltImage], report: Callable[[str], None] = lambda _line: None
    ) -> dict[str, str]:
        """Push all of `images` and return digest by reference; what is there is not sent again."""
        wanted = list(images)
        homes: dict[str, str] = {}
        first: list[tuple[str, Layer]] = []
        for image in wanted:
            for layer in image.layers:
                if layer.digest not in homes:
                    homes[layer.digest] = self.repository(image.name)
                    first.append((homes[layer.digest], layer))
        one_image = threading.Lock()

        def send(item: tuple[str, Layer]) -> None:
            repository, layer = item
            with self._session() as session:
                report(f"pushing a layer of {layer.size / 1e6:.0f} MB to {repository}")
                self._layer(session, repository, layer, None)

        def finish(image: BuiltImage) -> tuple[str, str]:
            repository = self.repository(image.name)
            with self._session() as session:
                for layer in image.layers:
                    self._layer(session, repository, layer, homes[layer.digest])
                self._blob(session, repository, digest_of(image.config), image.config)
                digest = self._manifest(session, repository, image.tag, image.manifest)
            with one_image:
                report(f"pushed {image.name}:{image.tag}")
            return self.reference(image.name, image.tag), digest

        # Images of one repository one after the other: the registry answers 500 to who asks for a
        # layer's link while another writes it.
        names = dict.fromkeys(image.name for image in wanted)
        by_name = [[image for image in wanted if image.name == name] for name in names]
        # Shared layers first and once: an image then only says that it has them as well.
        with ThreadPoolExecutor(PARALLEL) as pool:
            list(pool.map(send, first))
            done = list(pool.map(lambda images: [finish(image) for image in images], by_name))
        return dict(one for some in done for one in some)

    def move_tag(self, name: str, tag: str, note: str) -> str:
        """Put a file with `note` on top of a tag's image; returns the tag's new digest."""
        repository = self.repository(name)
        with self._session() as session:
            manifest = self._get(session, repository, f"manifests/{tag}").json()
            config = self._get(session, repository, f"blobs/{manifest['config']['digest']}").json()
            tar = _one_file("moved", note.encode())
            packed = gzip.compress(tar, mtime=0)
            config["rootfs"]["diff_ids"].append(digest_of(tar))
            config.get("history", []).append({"created": config["created"]})
            text = canonical_json(config)
            manifest["layers"].append(
                {"mediaType": LAYER_TYPE, "size": len(packed), "digest": digest_of(packed)}
            )
            manifest["config"] |= {"size": len(text), "digest": digest_of(text)}
            self._blob(session, repository, digest_of(packed), packed)
            self._blob(session, repository, digest_of(text), text)
            return self._manifest(session, repository, tag, canonical_json(manifest))

    def remove_tag(self, name: str, tag: str) -> None:
        """Delete the image behind a tag; its other tags go too, since they are the same image."""
        repository = self.repository(name)
        with self._session() as session:
            answer = self._get(session, repository, f"manifests/{tag}")
            digest = answer.headers["Docker-Content-Digest"]
            self._ask(session, "DELETE", self._url(repository, f"manifests/{digest}"), (202,))

    def _layer(
        self, session: requests.Session, repository: str, layer: Layer, mount: str | None
    ) -> None:
        if self._has(session, repository, layer.digest):
            return
        mount = mount if mount != repository else None
        with layer.path.open("rb") as file:
            self._upload(session, repository, layer.digest, file, mount)

    def _blob(self, session: requests.Session, repository: str, digest: str, data: bytes) -> None:
        if not self._has(session, repository, digest):
            self._upload(session, repository, digest, io.BytesIO(data), None)

    def _has(self, session: requests.Session, repository: str, digest: str) -> bool:
        url = self._url(repository, f"blobs/{digest}")
        return self._ask(session, "HEAD", url, (200, 404)).status_code == 200

    def _upload(
        self,
        session: requests.Session,
        repository: str,
        digest: str,
        data: IO[bytes],
        mount: str | None,
    ) -> None:
        url = self._url(repository, "blobs/uploads/")
        wish = {"mount": digest, "from": mount} if mount else None
        begun = self._ask(session, "POST", url, (201, 202), params=wish)
        if begun.status_code == 201:  # mounted: the registry has it already
            return
        place = urljoin(url, begun.headers["Location"])
        octets = {"Content-Type": "application/octet-stream"}
        self._ask(
            session, "PUT", place, (201,), params={"digest": digest}, data=data, headers=octets
        )

    def _manifest(
        self, session: requests.Session, repository: str, tag: str, manifest: bytes
    ) -> str:
        kind = {"Content-Type": MANIFEST_TYPE}
        url = self._url(repository, f"manifests/{tag}")
        self._ask(session, "PUT", url, (201,), data=manifest, headers=kind)
        return digest_of(manifest)

    def _get(self, session: requests.Session, repository: str, what: str) -> requests.Response:
        accept = {"Accept": MANIFEST_TYPE}
        return self._ask(session, "GET", self._url(repository, what), (200,), headers=accept)

    def _url(self, repository: str, what: str) -> str:
        return f"https://{self.address}/v2/{repository}/{what}"

    def _ask(
        self,
        session: requests.Session,
        method: str,
        url: str,
        expected: Sequence[int],
        **options: Any,  # noqa: ANN401 - whatever requests takes
    ) -> requests.Response:
        limit = UPLOAD_TIMEOUT if "data" in options else TIMEOUT
        try:
            answer = session.request(method, url, timeout=(10, limit), **options)
        except requests.RequestException as error:
            raise StackpinError(f"{method} {url.partition('?')[0]}: {error}") from error
        if answer.status_code not in expected:
            raise StackpinError(
                f"{method} {url.partition('?')[0]} answered {answer.status_code}, "
                f"not {' or '.join(map(str, expected))}: {answer.text[:300] or 'no reason given'}"
            )
        return answer

    @contextmanager
    def _session(self) -> Iterator[requests.Session]:
        with requests.Session() as session:
            session.auth = (self.username, self.password)
            session.verify = str(self.ca)
            # A proxy this machine needs for the world outside is none for the lab.
            session.trust_env = False
            yield session


def _one_file(name: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()
