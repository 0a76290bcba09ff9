"""One registry: which content a tag names, and which tags there are.

The registry itself is asked first, and its word counts: a mirror may have an old copy of a tag.
Mirrors are asked, in order, only when the registry cannot be reached or asks for patience; an
image found so says it (`source`). A registry whose certificate is wrong, or that says no, is
never replaced by a mirror, and mirrors are never sent the password.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote, urljoin

from stackpin.registry import manifests
from stackpin.registry.auth import Authorizer, Credentials
from stackpin.registry.errors import (
    BadAnswer,
    RateLimited,
    RegistryProblem,
    RegistryUnreachable,
    TagMissing,
    Unauthorized,
)
from stackpin.registry.manifests import ACCEPT, Malformed, digest_of, json_object
from stackpin.registry.reference import api_host, is_digest
from stackpin.registry.transport import Answer, Transport, trusting

__all__ = ["DEADLINE", "Image", "Registry"]

DEADLINE = 60.0  # seconds for one question with all its retries, at one address
_PLATFORM = "linux/amd64"  # whose size is told; its absence is no error
_PAGES = 200
_NEXT = re.compile(r"""<([^>]*)>\s*;[^,]*\brel="?next\b""")
T = TypeVar("T")


@dataclass(frozen=True)
class Image:
    """What one tag names. `digest` is of the index where there is one, as the registry says it.

    `size` are compressed bytes for linux/amd64 (else the first platform), `created` is ISO 8601 or
    "", `source` is the address that answered.
    """

    ref: str
    digest: str
    size: int
    platforms: tuple[str, ...]
    created: str
    source: str


class Registry:
    """A registry called as references call it: "docker.io", "10.0.0.5:5000".

    `password` stays in here; `ca` is a PEM file trusted beside the system's authorities; `mirrors`
    are URLs; `timeout` in seconds bounds each wait, `deadline` each question with its retries.
    Raises Refused for an unusable `ca`.
    """

    def __init__(
        self,
        host: str,
        username: str | None = None,
        password: str | None = None,
        *,
        ca: str | None = None,
        mirrors: Sequence[str] = (),
        timeout: float = 20,
        attempts: int = 3,
        deadline: float = DEADLINE,
    ) -> None:
        self.host = host
        context = trusting(ca)
        user = Credentials(username, password) if username and password else None
        bases = [f"https://{api_host(host)}", *mirrors]
        self._addresses = [
            _Address(Transport(base, context, timeout, attempts), user if at == 0 else None)
            for at, base in enumerate(bases)
        ]
        self._deadline = deadline

    def resolve(self, repository: str, tag: str) -> Image:
        """Return what a tag (or a digest) names, every byte verified. Raises RegistryProblem."""
        return self._first(lambda one, until: one.image(self.host, repository, tag, until))

    def digest(self, repository: str, tag: str) -> str:
        """Return the digest a tag names, or a digest that is there, without fetching more.

        Raises RegistryProblem.
        """
        return self._first(lambda one, until: one.digest(self.host, repository, tag, until))

    def tags(self, repository: str) -> list[str]:
        """Return every tag of an image, in the registry's order. Raises RegistryProblem."""
        return self._first(lambda one, until: one.tags(self.host, repository, until))

    def _first(self, question: Callable[[_Address, float], T]) -> T:
        home, *mirrors = self._addresses
        try:
            return question(home, time.monotonic() + self._deadline)
        except (RegistryUnreachable, RateLimited) as problem:
            for mirror in mirrors:
                try:
                    return question(mirror, time.monotonic() + self._deadline)
                except RegistryProblem:
                    continue  # a mirror has not everything, and its word does not count
            raise problem from None


class _Address:
    """One address that speaks the registry protocol: the registry, or a mirror of it."""

    def __init__(self, transport: Transport, credentials: Credentials | None) -> None:
        self._transport = transport
        self._authorizer = Authorizer(transport.name, credentials, self._token)

    def image(self, host: str, repository: str, tag: str, until: float) -> Image:
        ref = _ref(host, repository, tag)
        body, kind = self._manifest(repository, tag, ref, until)
        digest = digest_of(body)
        manifest = self._read(body, kind, ref)
        platforms = tuple(child.platform for child in manifest.children)
        if manifest.children:
            fitting = [child for child in manifest.children if child.platform == _PLATFORM]
            child = (fitting or manifest.children)[0]
            body, kind = self._manifest(repository, child.digest, ref, until)
            manifest = self._read(body, kind, ref)
            if not manifest.config:
                raise BadAnswer(self._transport.name, ref, "an index inside an index")
        config = self._config(repository, manifest.config, ref, until)
        created = config.get("created")
        return Image(
            ref=ref,
            digest=digest,
            size=manifest.size,
            platforms=platforms or (manifests.platform_of(config),),
            created=created if isinstance(created, str) else "",
            source=self._transport.name,
        )

    def digest(self, host: str, repository: str, tag: str, until: float) -> str:
        ref = _ref(host, repository, tag)
        answer = self._ask("HEAD", repository, f"manifests/{tag}", ref, until)
        told = answer.headers.get("docker-content-digest", "")
        if is_digest(tag) and told in {"", tag}:
            return tag
        if is_digest(told) and not is_digest(tag):
            return told
        return digest_of(self._manifest(repository, tag, ref, until)[0])

    def tags(self, host: str, repository: str, until: float) -> list[str]:
        name = f"{host}/{repository}"
        found: dict[str, None] = {}
        url, seen = f"/v2/{repository}/tags/list?n=1000", set[str]()
        while url not in seen and len(seen) < _PAGES:
            seen.add(url)
            answer = self._ask("GET", repository, url, name, until)
            try:
                listed = json_object(answer.body).get("tags") or []
            except Malformed as error:
                raise BadAnswer(self._transport.name, name, str(error)) from None
            if not isinstance(listed, list):
                raise BadAnswer(self._transport.name, name, "tags that are no list")
            found |= dict.fromkeys(tag for tag in listed if isinstance(tag, str))
            following = _NEXT.search(answer.headers.get("link", ""))
            if following is None:
                break
            url = urljoin(answer.url, following[1])
            if not self._transport.same_origin(url):
                raise BadAnswer(self._transport.name, name, "a next page at another address")
        return list(found)

    def _manifest(self, repository: str, tag: str, ref: str, until: float) -> tuple[bytes, str]:
        answer = self._ask("GET", repository, f"manifests/{tag}", ref, until)
        real = digest_of(answer.body)
        for named in (answer.headers.get("docker-content-digest"), tag if is_digest(tag) else None):
            if named is not None and named != real:
                raise BadAnswer(
                    self._transport.name, ref, f"content {real} under the digest {named[:80]}"
                )
        return answer.body, answer.headers.get("content-type", "")

    def _config(self, repository: str, digest: str, ref: str, until: float) -> dict[str, object]:
        answer = self._ask("GET", repository, f"blobs/{digest}", ref, until)
        if digest_of(answer.body) != digest:
            raise BadAnswer(self._transport.name, ref, f"other content under {digest}")
        try:
            return json_object(answer.body)
        except Malformed as error:
            raise BadAnswer(self._transport.name, ref, str(error)) from None

    def _read(self, body: bytes, kind: str, ref: str) -> manifests.Manifest:
        try:
            return manifests.read(body, kind)
        except Malformed as error:
            raise BadAnswer(self._transport.name, ref, str(error)) from None

    def _ask(self, method: str, repository: str, path: str, ref: str, until: float) -> Answer:
        url = path if path.startswith(("/", "http")) else f"/v2/{repository}/{quote(path, '/:')}"
        headers = {"Accept": ACCEPT if "manifests/" in path else "application/json, */*"}
        known = self._authorizer.header(repository)
        if known:
            headers["Authorization"] = known
        answer = self._transport.ask(method, url, ref, headers, until)
        asked = answer.headers.get("www-authenticate", "")
        # Only the registry itself says where the password goes, not whom it sends us to.
        if answer.status == 401 and asked and self._transport.same_origin(answer.url):
            headers["Authorization"] = self._authorizer.answer(asked, repository, ref)
            answer = self._transport.ask(method, url, ref, headers, until)
        return self._judged(answer, ref)

    def _judged(self, answer: Answer, ref: str) -> Answer:
        if answer.status == 200:
            return answer
        said = _message(answer)
        if answer.status in {401, 403}:
            raise Unauthorized(self._transport.name, ref, f"{answer.status}{said}")
        if answer.status == 404:
            raise TagMissing(self._transport.name, ref, f"none (404){said}")
        raise BadAnswer(self._transport.name, ref, f"status {answer.status}{said}")

    def _token(self, url: str, authorization: str | None, image: str) -> bytes:
        headers = {"Authorization": authorization} if authorization else {}
        until = time.monotonic() + DEADLINE
        answer = self._transport.ask("GET", url, image, headers, until)
        if answer.status in {400, 401, 403}:
            raise Unauthorized(
                self._transport.name, image, f"{answer.status} from its token server"
            )
        return self._judged(answer, image).body


def _ref(host: str, repository: str, tag: str) -> str:
    return f"{host}/{repository}{'@' if is_digest(tag) else ':'}{tag}"


def _message(answer: Answer) -> str:
    """Return ": what the registry said", cut and printable; "" when it said nothing."""
    try:
        errors = json_object(answer.body).get("errors")
        first = errors[0] if isinstance(errors, list) and errors else {}
        told = str(first.get("message") or first.get("code") or "")
    except (Malformed, AttributeError):
        return ""
    text = "".join(c if c.isprintable() else " " for c in told)[:160].strip()
    return f": {text}" if text else ""
