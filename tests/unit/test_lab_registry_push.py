"""The lab's registry without a host: images, certificates, files, pushing to a stand-in."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import gzip
import hashlib
import io
import json
import ssl
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from stackpin.errors import Refused, StackpinError
from stackpin.lab.inventory import belongs_to_fleet
from stackpin.lab.registry.model import BuiltImage, Layer, digest_of
from stackpin.lab.registry.push import Pusher
from stackpin.lab.registry.service import FOLDER, configure, settings
from stackpin.lab.registry.tls import Authority, Pair, authority, signed
from stackpin.lab.state import LabState, add_named, fleet_names, plan_hosts


def layer(tmp_path: Path, name: str, text: str) -> Layer:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text.encode()))
    packed = gzip.compress(buffer.getvalue(), mtime=0)
    path = tmp_path / f"{name}.tar.gz"
    path.write_bytes(packed)
    return Layer(path, digest_of(packed), digest_of(buffer.getvalue()), len(packed))


def test_an_image_is_the_same_whenever_it_is_made(tmp_path: Path) -> None:
    base = layer(tmp_path, "base", "b")
    one = BuiltImage.make("xingrin-agent", "v1.1.0", (base,), {"Cmd": ["/a"], "Env": ["A=1"]})
    same = BuiltImage.make("xingrin-agent", "v1.1.0", (base,), {"Env": ["A=1"], "Cmd": ["/a"]})
    other = BuiltImage.make("xingrin-agent", "v1.1.0", (base,), {"Cmd": ["/b"], "Env": ["A=1"]})
    assert one.digest == same.digest != other.digest
    assert one.digest == "sha256:" + hashlib.sha256(one.manifest).hexdigest()
    assert json.loads(one.config)["rootfs"]["diff_ids"] == [base.diff_id]
    assert json.loads(one.manifest)["layers"][0]["digest"] == base.digest


def test_the_authority_is_made_once_and_its_key_is_private(tmp_path: Path) -> None:
    one = Authority(tmp_path / "authority")
    one.make()
    before = one.certificate.read_bytes()
    one.make()
    assert one.certificate.read_bytes() == before
    assert one.key.stat().st_mode & 0o777 == 0o600
    assert one.home.stat().st_mode & 0o777 == 0o700


def handshake(ca: bytes, pair: Pair, name: str, tmp_path: Path) -> None:
    """Do a whole TLS handshake in memory, with every check Python knows."""
    (tmp_path / "c.pem").write_bytes(pair.certificate + pair.key)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(tmp_path / "c.pem")
    asking = ssl.create_default_context(cadata=ca.decode())
    asking.verify_flags |= ssl.VERIFY_X509_STRICT
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = asking.wrap_bio(back, there, server_hostname=name)
    server = serving.wrap_bio(there, back, server_side=True)
    for _turn in range(4):
        for end in (client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()


@pytest.mark.parametrize("name", ["10.87.0.11", "registry"])
def test_a_certificate_holds_for_address_and_name(tmp_path: Path, name: str) -> None:
    ca = authority("test")
    handshake(ca.certificate, signed(ca, "10.87.0.11", "registry"), name, tmp_path)


def test_a_certificate_holds_for_nothing_else(tmp_path: Path) -> None:
    ca = authority("test")
    pair = signed(ca, "10.87.0.11", "registry")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(ca.certificate, pair, "10.87.0.12", tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(authority("test").certificate, pair, "registry", tmp_path)


def test_configuring_twice_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "var/lib/docker-registry").mkdir(parents=True)
    pair, login = Pair(b"certificate", b"key"), ("lab", "word")
    assert configure(tmp_path, pair, login)
    assert not configure(tmp_path, pair, login)
    assert configure(tmp_path, pair, ("lab", "another"))
    assert configure(tmp_path, Pair(b"other", b"key"), ("lab", "another"))
    for name in ("server.key", "htpasswd"):
        assert (tmp_path / FOLDER / name).stat().st_mode & 0o777 == 0o600
    assert "word" not in (tmp_path / FOLDER / "htpasswd").read_text()
    assert json.loads(settings(5001))["http"]["addr"] == ":5001"


class StandIn(BaseHTTPRequestHandler):
    """As much of a registry as a push needs; what it got is in the class."""

    blobs: dict[str, bytes]
    held: set[tuple[str, str]]
    manifests: dict[str, bytes]
    uploads: list[str]

    def reply(self, status: int, data: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def parts(self) -> tuple[str, str, str, dict[str, list[str]]]:
        url = urlsplit(self.path)
        _, _, space, name, kind, *rest = url.path.split("/")
        return f"{space}/{name}", kind, "/".join(rest), parse_qs(url.query)

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        repository, kind, rest, query = self.parts()
        login = base64.b64encode(b"lab:word").decode()
        if self.headers["Authorization"] != f"Basic {login}":
            self.reply(401, b"who are you")
        elif kind == "manifests" and self.command == "PUT":
            self.manifests[f"{repository}:{rest}"] = body
            self.reply(201)
        elif kind == "manifests":
            self.reply(200, self.manifests[f"{repository}:{rest}"])
        elif self.command in {"HEAD", "GET"}:
            there = (repository, rest) in self.held
            self.reply(200 if there else 404, self.blobs[rest] if there else b"")
        elif self.command == "POST":
            digest, source = query.get("mount", [""])[0], query.get("from", [""])[0]
            if (source, digest) in self.held:
                self.held.add((repository, digest))
                self.reply(201)
            else:
                self.reply(202, Location=f"/v2/{repository}/blobs/uploads/1?_state=x")
        else:
            digest = query["digest"][0]
            assert query["_state"] == ["x"]
            assert digest_of(body) == digest
            self.blobs[digest] = body
            self.held.add((repository, digest))
            self.uploads.append(digest)
            self.reply(201)

    do_GET = do_HEAD = do_POST = do_PUT = handle_any  # noqa: N815 - http.server's names

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[tuple[Pusher, type[StandIn]]]:
    ca = Authority(tmp_path / "authority")
    ca.make()
    pair = ca.sign("127.0.0.1", "localhost")
    (tmp_path / "server.pem").write_bytes(pair.certificate + pair.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    state: dict[str, object] = {"blobs": {}, "held": set(), "manifests": {}, "uploads": []}
    handler: type[StandIn] = type("Handler", (StandIn,), state)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    address = f"127.0.0.1:{server.server_port}"
    yield Pusher(address, ca.certificate, "lab", "word", "yyhuni"), handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_shared_layer_is_sent_once(
    registry: tuple[Pusher, type[StandIn]], tmp_path: Path
) -> None:
    pusher, there = registry
    base, app = layer(tmp_path, "base", "b"), layer(tmp_path, "app", "a")
    images = [
        BuiltImage.make("xingrin-server", "v1.1.0", (base, app), {}),
        BuiltImage.make("xingrin-agent", "v1.1.0", (base,), {}),
    ]
    pushed = pusher.push(images)
    assert pushed == {
        f"{pusher.address}/yyhuni/{image.name}:v1.1.0": image.digest for image in images
    }
    assert there.uploads.count(base.digest) == 1
    assert ("yyhuni/xingrin-agent", base.digest) in there.held
    assert there.manifests["yyhuni/xingrin-agent:v1.1.0"] == images[1].manifest
    sent = len(there.uploads)
    assert pusher.push(images) == pushed
    assert len(there.uploads) == sent


def test_a_moved_tag_has_another_digest_and_all_its_layers(
    registry: tuple[Pusher, type[StandIn]], tmp_path: Path
) -> None:
    pusher, there = registry
    image = BuiltImage.make("xingrin-agent", "v1.1.0", (layer(tmp_path, "a", "a"),), {})
    pusher.push([image])
    moved = pusher.move_tag("xingrin-agent", "v1.1.0", "other")
    manifest = json.loads(there.manifests["yyhuni/xingrin-agent:v1.1.0"])
    assert moved != image.digest
    assert len(manifest["layers"]) == 2
    config = json.loads(there.blobs[manifest["config"]["digest"]])
    for entry, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True):
        assert digest_of(gzip.decompress(there.blobs[entry["digest"]])) == diff_id
    assert pusher.push([image])[pusher.reference("xingrin-agent", "v1.1.0")] == image.digest


def test_failures_name_the_place_and_the_answer(
    registry: tuple[Pusher, type[StandIn]], tmp_path: Path
) -> None:
    pusher, _there = registry
    image = BuiltImage.make("xingrin-agent", "v1", (layer(tmp_path, "a", "a"),), {})
    other = authority("other").certificate
    (tmp_path / "other.pem").write_bytes(other)
    stranger = Pusher(pusher.address, tmp_path / "other.pem", "lab", "word", "yyhuni")
    with pytest.raises(StackpinError, match=rf"{pusher.address}.*(?s:.*)certificate"):
        stranger.push([image])
    wrong = dataclasses.replace(pusher, password="other")
    with pytest.raises(StackpinError, match=rf"{pusher.address}/v2/yyhuni.* answered 401"):
        wrong.push([image])


def empty() -> LabState:
    return LabState.model_validate({"subnet": "10.87.0.0/24", "release": "trixie"})


def test_a_fleet_grows_and_keeps_its_addresses() -> None:
    lab = empty()
    plan_hosts(lab, 1, "lab", fleet_names(1), docker=True)
    plan_hosts(lab, 1, "lab", fleet_names(2), docker=True)
    assert [(host.name, host.number) for host in lab.hosts] == [
        ("registry", 11),
        ("server", 12),
        ("node1", 13),
        ("node2", 14),
    ]
    assert all(host.docker for host in lab.hosts)


def test_a_host_without_docker_does_not_count_as_one_with() -> None:
    lab = empty()
    plan_hosts(lab, 2, "lab")
    plan_hosts(lab, 1, "lab", docker=True)
    assert [(host.name, host.docker) for host in lab.hosts] == [
        ("lab1", False),
        ("lab2", False),
        ("lab3", True),
    ]
    with pytest.raises(Refused, match="stackpin lab down lab1"):
        add_named(lab, ["lab1"], docker=True)


def test_fleet_hosts_are_told_from_others() -> None:
    names = ["lab1", "registry", "server", "node12", "node", "server2", "web1"]
    assert [name for name in names if belongs_to_fleet(name)] == ["registry", "server", "node12"]
    assert [name for name in names if belongs_to_fleet(name, nodes=True)] == ["node12"]
