"""Files, directories, archives, downloads and images: proven, or refused with what to do."""

from __future__ import annotations

import hashlib
import io
import os
import string
import subprocess
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackpin.artifacts import Artifact, Cache, resolve, unpacking
from stackpin.artifacts.outputs import chosen, is_plain
from stackpin.config.sources import SOURCE, file, image, url
from stackpin.errors import Refused

BODY = b"#!/bin/sh\necho hello\n"
SHA = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def take(tmp_path):
    told = []

    def resolved(source, version="v1.0.0"):
        return resolve(
            SOURCE.validate_python(source), version, tmp_path, cache=Cache(tmp_path / "cache"),
            progress=told.append,
        )  # fmt: skip

    resolved.told = told
    return resolved


def tar(path: Path, *members: tuple[str, bytes | str | None], **kinds) -> str:
    """Make a .tar.gz: bytes are a file, None a directory, text a link to that."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.mode = 0o755
            info.type = kinds.get("type", tarfile.REGTYPE)
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                info.type, info.linkname = kinds.get("type", tarfile.SYMTYPE), content
            else:
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- file -----------------------------------------------------------------------------------


@pytest.fixture
def bundle(tmp_path):
    folder = tmp_path / "app-v1.0.0"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/gate").write_bytes(BODY)
    (folder / "bin/gate").chmod(0o755)
    (folder / "read me").write_text("é")
    return folder


def sums(folder):
    command = "find . -type f ! -name SHA256SUMS -exec sha256sum {} + > SHA256SUMS"
    subprocess.run(["sh", "-c", command], cwd=folder, check=True)


def test_a_directory_by_its_sums(take, bundle):
    with pytest.raises(Refused, match="neither a declared sha256 nor a readable SHA256SUMS"):
        take(file("app-{version}"))
    sums(bundle)
    found = take(file("app-{version}"))
    assert {name: one.sha256 for name, one in found.outputs.items()}["bin/gate"] == SHA
    assert list(found.outputs) == ["bin/gate", "read me"]
    assert found.provenance == {"kind": "file", "path": "app-v1.0.0"}
    gate = Artifact.of(found, "v1.0.0", "bin/gate")
    assert (gate.name, gate.sha256, gate.size) == ("gate", SHA, len(BODY))
    assert gate.origin["outputs"]["bin/gate"] == {"sha256": SHA, "size": len(BODY)}
    folder = Artifact.of(found, "v1.0.0", "bin")
    assert (folder.path, folder.name, folder.size) == (bundle / "bin", "bin", len(BODY))
    assert folder.sha256 == hashlib.sha256(f"{SHA}  ./gate\n".encode()).hexdigest()
    with pytest.raises(Refused, match="found no bin/probe in it"):
        Artifact.of(found, "v1.0.0", "bin/probe")


@pytest.mark.parametrize("change", ["bin/gate", "bin/other", "gone", "link"])
def test_a_directory_that_is_another(take, bundle, change):
    sums(bundle)
    take(file("app-{version}"))
    if change == "gone":
        (bundle / "read me").unlink()
    elif change == "link":
        (bundle / "bin/link").symlink_to("/etc/passwd")
    else:
        (bundle / change).write_text("other")
    with pytest.raises(Refused, match=r"other files than SHA256SUMS|a link or device"):
        take(file("app-{version}"))


def test_a_directory_by_its_listing(take, bundle):
    """The digest is what the command in the documentation prints."""
    command = (
        "find . -type f ! -path ./SHA256SUMS -print0 | LC_ALL=C sort -z | "
        "xargs -0 sha256sum | sha256sum"
    )
    told = subprocess.run(["sh", "-c", command], cwd=bundle, check=True, capture_output=True)
    digest = told.stdout.decode().split()[0]
    assert len(take(file("app-{version}", sha256={"v1.0.0": digest})).outputs) == 2
    (bundle / "more").write_text("x")
    with pytest.raises(Refused, match="sorted listing"):
        take(file("app-{version}", sha256=digest))


def test_an_archive_is_unpacked_once_and_without_its_top(take, tmp_path):
    archive = tmp_path / "app-v1.0.0.tar.gz"
    digest = tar(archive, ("app-v1.0.0", None), ("./app-v1.0.0/bin/gate", BODY))
    first = take(file("app-{version}.tar.gz", sha256=digest))
    assert list(first.outputs) == ["bin/gate"]
    assert first.outputs["bin/gate"].path.stat().st_mode & 0o777 == 0o755
    assert take(file("app-{version}.tar.gz", sha256=digest)).cached
    other = tar(tmp_path / "other.tgz", ("bin/gate", BODY))
    assert list(take(file("other.tgz", sha256=other)).outputs) == ["bin/gate"]


HOSTILE = {
    "absolute": [("/etc/x", BODY)],
    "parent": [("../x", BODY)],
    "inner parent": [("a/../../x", BODY)],
    "link outside": [("a", "/etc")],
    "link inside": [("b", BODY), ("a", "b")],
    "through a link": [("a", "."), ("a/x", BODY)],
    "twice": [("a", BODY), ("a", BODY)],
    "below a file": [("a", BODY), ("a/b", BODY)],
    "file over directory": [("a/b", BODY), ("a", BODY)],
    "directory over file": [("a", BODY), ("a", None)],
    "newline": [("a\nb", BODY)],
    "absolute directory": [("/x", None)],
}


@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE)
def test_hostile_archives(take, tmp_path, members):
    digest = tar(tmp_path / "x.tar.gz", *members)
    with pytest.raises(Refused, match="in the archive"):
        take(file("x.tar.gz", sha256=digest))
    nothing_outside(tmp_path)


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_archives(take, tmp_path, kind):
    digest = tar(tmp_path / "x.tar.gz", ("a", "/etc/passwd"), type=kind)
    with pytest.raises(Refused, match="a link or device"):
        take(file("x.tar.gz", sha256=digest))


def test_archives_have_limits(take, tmp_path, monkeypatch):
    digest = tar(tmp_path / "x.tar.gz", ("a", bytes(50_000)), ("b", b"1"), ("c", b"1"))
    monkeypatch.setattr(unpacking, "MEMBERS_MAX", 2)
    with pytest.raises(Refused, match="more than 2 members"):
        take(file("x.tar.gz", sha256=digest))
    monkeypatch.setattr(unpacking, "BYTES_MAX", 20_000)
    with pytest.raises(Refused, match="more than that"):
        take(file("x.tar.gz", sha256=digest))
    nothing_outside(tmp_path)


@pytest.mark.parametrize("cut", [1, 20, -30])
def test_damaged_archives(take, tmp_path, cut):
    path = tmp_path / "x.tar.gz"
    tar(path, ("a", os.urandom(500)))
    path.write_bytes(path.read_bytes()[:cut])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(Refused, match="damage"):
        take(file("x.tar.gz", sha256=digest))


def nothing_outside(tmp_path):
    assert [one.name for one in (tmp_path / "cache/entries").iterdir()] == []
    assert {one.name for one in tmp_path.iterdir()} == {"x.tar.gz", "cache"}


# --- outputs --------------------------------------------------------------------------------

NAMES = ["bin/gate", "bin/x/probe", "bin.txt", "ui/dist/a.html", "ui/dist/s/b.js", ".git/config"]


@pytest.mark.parametrize(
    ("pattern", "meant"),
    [
        ("bin", ["bin/gate", "bin/x/probe"]),
        ("bin/gate", ["bin/gate"]),
        ("bin/*", ["bin/gate", "bin/x/probe"]),
        ("bin/?ate", ["bin/gate"]),
        ("ui/dist/**", ["ui/dist/a.html", "ui/dist/s/b.js"]),
        ("**/*.js", ["ui/dist/s/b.js"]),
        ("ui/**/b.js", ["ui/dist/s/b.js"]),
        ("**", ["bin.txt", "bin/gate", "bin/x/probe", "ui/dist/a.html", "ui/dist/s/b.js"]),
        ("*.txt", ["bin.txt"]),
        ("b*", ["bin.txt", "bin/gate", "bin/x/probe"]),
    ],
)
def test_patterns(pattern, meant):
    assert chosen([pattern], NAMES, "x") == meant


@pytest.mark.parametrize("pattern", ["bi", "gate", ".git", ".git/**", "bin/gate/x", "b[i]n"])
def test_patterns_that_mean_nothing(pattern):
    with pytest.raises(Refused, match="found nothing there"):
        chosen([pattern], NAMES, "x")


part = st.text(string.ascii_letters + "._-?*[]() é\n\\", min_size=1, max_size=6)
paths = st.lists(part | st.sampled_from(["..", ".", ""]), min_size=1, max_size=4).map("/".join)


@given(paths)
def test_plain_names_stay_below(name):
    if is_plain(name):
        assert os.path.normpath(f"/root/{name}") == f"/root/{name}"
        assert "\n" not in name
    else:
        assert str(PurePosixPath(name)) != name or ".." in name.split("/") or name[0] in "/." or (
            not name.isprintable()
        )  # fmt: skip


@given(st.lists(paths.filter(is_plain), min_size=1, max_size=5, unique=True))
def test_a_name_without_wildcards_means_itself_and_what_is_below(names):
    for name in names:
        if set(name) & set("*?") or name.split("/")[0] == ".git":
            continue
        meant = chosen([name], names, "x")
        assert meant == sorted(n for n in names if n == name or n.startswith(name + "/"))


# --- url ------------------------------------------------------------------------------------


class Server(BaseHTTPRequestHandler):
    def do_GET(self):
        asked.append(self.path)
        status, headers, body = ANSWERS[self.path](self)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


asked: list[str] = []


def good(body=BODY):
    return lambda _: (200, {"Content-Length": len(body)}, body)


ANSWERS = {
    "/app-v1.0.0": good(),
    "/short": lambda _: (200, {"Content-Length": 10_000}, BODY),
    "/flaky": lambda _: (200, {}, BODY) if asked.count("/flaky") > 2 else (503, {}, b""),
    "/gone": lambda _: (404, {}, b""),
    "/moved": lambda _: (302, {"Location": "/app-v1.0.0"}, b""),
    "/loop": lambda _: (302, {"Location": "/loop"}, b""),
    "/file": lambda _: (302, {"Location": "file:///etc/passwd"}, b""),
    "/endless": lambda _: (200, {}, bytes(100_000)),
    "/huge": lambda _: (200, {"Content-Length": 10**12}, b""),
    "/x.tar.gz": lambda _: (200, {}, Path(os.environ["STACKPIN_TEST_TAR"]).read_bytes()),
}


@pytest.fixture
def downloads():
    """The module, imported when used: requests must come after gevent, which others import."""
    from stackpin.artifacts import downloads

    return downloads


@pytest.fixture
def server(downloads, monkeypatch):
    asked.clear()
    monkeypatch.setattr(downloads.time, "sleep", lambda _: None)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_a_download_is_made_once(take, server):
    first = take(url(f"{server}/app-{{version}}", SHA))
    second = take(url(f"{server}/app-{{version}}", {"v1.0.0": SHA, "v1.1.0": "0" * 64}))
    assert (first.cached, second.cached, len(asked)) == (False, True, 1)
    assert first.outputs["app-v1.0.0"].path.read_bytes() == BODY
    assert first.provenance["url"] == f"{server}/app-v1.0.0"
    with pytest.raises(Refused, match="no SHA-256 for this version"):
        take(url(f"{server}/app-{{version}}", {"v1.0.0": SHA}), "v2.0.0")


def test_downloads_try_again_and_follow(take, server):
    assert take(url(f"{server}/flaky", SHA)).outputs["flaky"].sha256 == SHA
    assert len(asked) == 3
    assert any("503" in line for line in take.told)
    assert take(url(f"{server}/moved", SHA)).outputs["moved"].sha256 == SHA


def test_a_downloaded_archive_is_unpacked(take, server, tmp_path, monkeypatch):
    monkeypatch.setenv("STACKPIN_TEST_TAR", str(tmp_path / "x.tar.gz"))
    digest = tar(tmp_path / "x.tar.gz", ("bin/gate", BODY))
    assert list(take(url(f"{server}/x.tar.gz", digest)).outputs) == ["bin/gate"]


@pytest.mark.parametrize(
    ("path", "said", "times"),
    [
        ("/app-v1.0.0", "expected " + "0" * 64, 1),
        ("/short", r"\(4 attempts\)", 4),
        ("/gone", "status 404", 1),
        ("/loop", "more than 5 redirects", 6),
        ("/file", "a redirect to file:///etc/passwd", 1),
        ("/endless", "more than 0 MiB", 1),
        ("/huge", "more than 0 MiB", 1),
    ],
)
def test_downloads_refused(take, server, downloads, monkeypatch, tmp_path, path, said, times):
    monkeypatch.setattr(downloads, "BYTES_MAX", 50_000)
    with pytest.raises(Refused, match=said):
        take(url(server + path, "0" * 64))
    assert len(asked) == times
    assert list((tmp_path / "cache/entries").iterdir()) == []


def test_a_redirect_must_not_leave_https(downloads):
    class Answer:
        status_code, headers = 302, {"Location": "http://elsewhere.example.org/x"}

        def close(self):
            pass

    class Session:
        def get(self, *_args, **_options):
            return Answer()

    with pytest.raises(Refused, match="to stay on https"):
        downloads._opened(Session(), "https://example.org/x")


# --- image: docker is a stand-in that has one image -------------------------------------------

DOCKER = """#!/bin/sh
echo "$*" >> "$0.log"
case "$1 $2" in
"pull --quiet") case "$3" in *missing*) echo "manifest unknown" >&2; exit 1;; esac;;
"image inspect") echo '["registry.example.org/app@sha256:DIGEST"]';;
"create "*) echo c0ffee;;
"cp c0ffee:/srv/bin") tar -C "$(dirname "$0")/image" -cf - bin;;
"cp "*) echo "Could not find the file" >&2; exit 1;;
esac
""".replace("DIGEST", "d" * 64)


@pytest.fixture
def docker(tmp_path, monkeypatch):
    (tmp_path / "image/bin").mkdir(parents=True)
    (tmp_path / "image/bin/gate").write_bytes(BODY)
    (tmp_path / "docker").write_text(DOCKER)
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return (tmp_path / "docker.log").read_text


def test_files_out_of_an_image(take, docker):
    source = image("registry.example.org/app:{version}", ["bin"], root="/srv", sha256="d" * 64)
    first = take(source)
    assert first.outputs["bin/gate"].sha256 == SHA
    assert first.provenance["image"] == f"registry.example.org/app@sha256:{'d' * 64}"
    assert "rm --force c0ffee" in docker()
    before = docker()
    assert take(source).cached
    assert docker() == before  # a digest needs no question
    assert take(image("registry.example.org/app:{version}", ["bin"], root="/srv")).cached


@pytest.mark.parametrize(
    ("name", "output", "said"),
    [("missing", "bin", "manifest unknown"), ("app", "etc", "Could not find the file")],
)
def test_images_refused(take, docker, name, output, said):
    with pytest.raises(Refused, match=said):
        take(image(f"registry.example.org/{name}:v1", [output], root="/srv", sha256="d" * 64))
