"""What the client asks a registry, and what it makes of good and bad answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_registry import FakeRegistry, certificate, serving, sha

from stackpin.errors import Refused
from stackpin.registry.client import Registry
from stackpin.registry.errors import (
    BadAnswer,
    RateLimited,
    RegistryUnreachable,
    TagMissing,
    TlsProblem,
    Unauthorized,
)
from stackpin.registry.matrix import merged

REPO, TAG = "team/app", "v1.2.0"
PASSWORD = "hush-hush-very"


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeRegistry]:
    with serving(tmp_path / "registry") as made:
        yield made


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stackpin.registry.transport._pause", lambda _state: 0.01)


def client(fake: FakeRegistry, tmp_path: Path, **options: Any) -> Registry:
    options = {"ca": str(tmp_path / "registry/ca.crt"), "timeout": 5, **options}
    return Registry(fake.address, **options)


def test_an_image(fake: FakeRegistry, tmp_path: Path) -> None:
    digest = fake.push(REPO, TAG, size=5000)
    found = client(fake, tmp_path).resolve(REPO, TAG)
    assert found.digest == digest
    assert found.ref == f"{fake.address}/{REPO}:{TAG}"
    assert found.size > 5000
    assert found.platforms == ("linux/amd64",)
    assert found.created.startswith("2026-01-02")
    assert client(fake, tmp_path).resolve(REPO, digest).digest == digest


def test_an_index_is_named_by_its_own_digest(fake: FakeRegistry, tmp_path: Path) -> None:
    digest = fake.push(REPO, TAG, platforms=("linux/arm64", "linux/amd64"))
    found = client(fake, tmp_path).resolve(REPO, TAG)
    assert found.digest == digest
    assert found.platforms == ("linux/arm64", "linux/amd64")


@pytest.mark.parametrize("silent", [False, True])
def test_the_digest_alone(fake: FakeRegistry, tmp_path: Path, silent: bool) -> None:
    fake.no_digest = silent
    digest = fake.push(REPO, TAG)
    assert client(fake, tmp_path).digest(REPO, TAG) == digest
    assert client(fake, tmp_path).digest(REPO, digest) == digest
    with pytest.raises(TagMissing):
        client(fake, tmp_path).digest(REPO, sha(b"gone"))


def test_content_that_is_not_what_its_digest_says(fake: FakeRegistry, tmp_path: Path) -> None:
    fake.push(REPO, TAG)
    fake.lie = sha(b"something else")
    with pytest.raises(BadAnswer, match="under the digest"):
        client(fake, tmp_path).resolve(REPO, TAG)


def test_missing(fake: FakeRegistry, tmp_path: Path) -> None:
    fake.push(REPO, TAG)
    with pytest.raises(TagMissing, match=r"team/app:v9\.9\.9.*manifest_unknown"):
        client(fake, tmp_path).resolve(REPO, "v9.9.9")
    with pytest.raises(TagMissing, match="team/none"):
        client(fake, tmp_path).tags("team/none")
    fake.blobs.clear()
    with pytest.raises(TagMissing, match=TAG):  # its config is gone: nobody could pull it
        client(fake, tmp_path).resolve(REPO, TAG)


def test_tags_over_pages(fake: FakeRegistry, tmp_path: Path) -> None:
    for number in range(7):
        fake.push(REPO, f"v1.{number}.0")
    fake.page = 3
    assert client(fake, tmp_path).tags(REPO) == [f"v1.{number}.0" for number in range(7)]


@pytest.mark.parametrize("bearer", [False, True])
def test_login(fake: FakeRegistry, tmp_path: Path, bearer: bool) -> None:
    fake.login, fake.bearer = ("lab", PASSWORD), bearer
    fake.push(REPO, TAG)
    registry = client(fake, tmp_path, username="lab", password=PASSWORD)
    registry.resolve(REPO, TAG)
    registry.digest(REPO, TAG)
    assert [one[2] is None for one in fake.seen].count(True) == 1  # the header is remembered
    if bearer:
        fake.tokens += 1  # the token has run out
        registry.digest(REPO, TAG)
    for user, password in (("lab", "wrong-wrong"), (None, None)):
        with pytest.raises(Unauthorized) as caught:
            client(fake, tmp_path, username=user, password=password).resolve(REPO, TAG)
        assert "registry_password" in str(caught.value)
        assert "wrong-wrong" not in str(caught.value)


def test_repeated_until_it_works(fake: FakeRegistry, tmp_path: Path) -> None:
    fake.push(REPO, TAG)
    fake.faults = [(503, {}), (429, {"Retry-After": "0"})]
    client(fake, tmp_path).resolve(REPO, TAG)
    fake.faults = [(500, {})] * 3
    with pytest.raises(RegistryUnreachable, match="500"):
        client(fake, tmp_path).digest(REPO, TAG)
    fake.faults = [(429, {})] * 3
    with pytest.raises(RateLimited):
        client(fake, tmp_path).digest(REPO, TAG)


def test_no_long_wait_for_a_limit(fake: FakeRegistry, tmp_path: Path) -> None:
    fake.faults = [(429, {"Retry-After": "3600"})]
    began = time.monotonic()
    with pytest.raises(RateLimited, match="3600 s"):
        client(fake, tmp_path).digest(REPO, TAG)
    assert time.monotonic() - began < 3


def test_wrong_certificate(fake: FakeRegistry, tmp_path: Path) -> None:
    certificate(tmp_path / "other")
    fake.push(REPO, TAG)
    for ca in (None, str(tmp_path / "other/ca.crt")):
        with pytest.raises(TlsProblem, match="certificate"):
            client(fake, tmp_path, ca=ca, mirrors=[f"https://{fake.address}"]).digest(REPO, TAG)
    assert fake.seen == []
    for text in (None, "nothing"):
        path = tmp_path / "bad.crt"
        if text:
            path.write_text(text)
        with pytest.raises(Refused, match=r"registry_ca: .*bad\.crt"):
            client(fake, tmp_path, ca=str(path))


def test_down(tmp_path: Path) -> None:
    with serving(tmp_path / "registry") as fake:
        pass
    with pytest.raises(RegistryUnreachable, match="refused"):
        client(fake, tmp_path).digest(REPO, TAG)


@pytest.mark.parametrize(("slow", "value"), [("sleep", 30.0), ("drip", 0.5)])
def test_slow(fake: FakeRegistry, tmp_path: Path, slow: str, value: float) -> None:
    fake.push(REPO, TAG)
    setattr(fake, slow, value)
    began = time.monotonic()
    with pytest.raises(RegistryUnreachable, match="answer"):
        client(fake, tmp_path, timeout=1, deadline=2).resolve(REPO, TAG)
    assert time.monotonic() - began < 5


def test_redirects_take_no_password_elsewhere(fake: FakeRegistry, tmp_path: Path) -> None:
    fake.login = ("lab", PASSWORD)
    fake.push(REPO, TAG)
    with serving(tmp_path / "other") as other:
        other.blobs = fake.blobs
        both = tmp_path / "both.crt"
        both.write_bytes(
            b"".join((tmp_path / f"{n}/ca.crt").read_bytes() for n in ("registry", "other"))
        )
        fake.redirect = f"https://{other.address}"
        registry = client(fake, tmp_path, ca=str(both), username="lab", password=PASSWORD)
        registry.resolve(REPO, TAG)
        assert other.seen
        assert all(given is None for _, _, given in other.seen)
        fake.redirect = f"http://{other.address}"
        with pytest.raises(BadAnswer, match="away from https"):
            registry.resolve(REPO, TAG)


def test_a_redirect_cannot_ask_for_the_password(fake: FakeRegistry, tmp_path: Path) -> None:
    fake.push(REPO, TAG)
    with serving(tmp_path / "other") as other:
        other.blobs = fake.blobs
        other.login, other.bearer = ("lab", PASSWORD), True  # its token server would get it
        both = tmp_path / "both.crt"
        both.write_bytes(
            b"".join((tmp_path / f"{n}/ca.crt").read_bytes() for n in ("registry", "other"))
        )
        fake.redirect = f"https://{other.address}"
        registry = client(fake, tmp_path, ca=str(both), username="lab", password=PASSWORD)
        with pytest.raises(Unauthorized):
            registry.resolve(REPO, TAG)
        assert other.seen
        assert all(given is None for _, _, given in other.seen)


def test_mirrors(fake: FakeRegistry, tmp_path: Path) -> None:
    here = fake.push(REPO, TAG, "here")
    with serving(tmp_path / "mirror") as mirror:
        there = mirror.push(REPO, TAG, "there")
        both = tmp_path / "both.crt"
        both.write_bytes(
            b"".join((tmp_path / f"{n}/ca.crt").read_bytes() for n in ("registry", "mirror"))
        )
        options = {"ca": str(both), "mirrors": ["https://127.0.0.1:1", f"https://{mirror.address}"]}
        registry = client(fake, tmp_path, username="lab", password=PASSWORD, **options)
        assert registry.resolve(REPO, TAG).digest == here  # the registry's own word
        assert mirror.seen == []
        with pytest.raises(TagMissing):
            mirror.push(REPO, "v3.0.0")
            registry.resolve(REPO, "v3.0.0")
        fake.faults = [(502, {})] * 3
        found = registry.resolve(REPO, TAG)
        assert (found.digest, found.source) == (there, mirror.address)
        fake.faults = [(502, {})] * 3
        with pytest.raises(RegistryUnreachable, match=fake.address):
            registry.resolve(REPO, "v9.0.0")  # what a mirror has not says nothing
        assert all(given is None for _, _, given in mirror.seen)


@pytest.mark.parametrize(
    ("body", "media"),
    [
        (b"<html>", "text/html"),
        (b"[]", "application/json"),
        (b"{}", "application/vnd.docker.distribution.manifest.v1+prettyjws"),
        (b'{"manifests": []}', "application/vnd.oci.image.index.v1+json"),
        (b'{"config": {}, "layers": []}', "application/vnd.oci.image.manifest.v1+json"),
        (b"x" * (5 * 1024 * 1024), "application/vnd.oci.image.manifest.v1+json"),
    ],
)
def test_something_else_answers(
    fake: FakeRegistry, tmp_path: Path, body: bytes, media: str
) -> None:
    fake.manifests[REPO] = {TAG: (body, media)}
    with pytest.raises(BadAnswer):
        client(fake, tmp_path).resolve(REPO, TAG)


def test_plain_http_is_told(tmp_path: Path) -> None:
    import http.server

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        with pytest.raises((TlsProblem, RegistryUnreachable)):
            Registry(f"127.0.0.1:{server.server_address[1]}", timeout=2).digest(REPO, TAG)
    finally:
        server.shutdown()
        server.server_close()


def test_what_a_registry_refuses_for_every_image_is_said_once():
    problems = [
        Unauthorized("r.example", "r.example/a:v1", "401"),
        TagMissing("r.example", "r.example/b:v1", "none (404)"),
        Unauthorized("r.example", "r.example/c:v1", "401"),
    ]
    told = str(merged(problems)).splitlines()
    assert len(told) == 2
    assert "r.example/a:v1, r.example/c:v1: found 401," in told[0]
    assert "r.example/b:v1: found none (404)" in told[1]
