"""References and challenges are read as Docker reads them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stackpin.errors import Refused
from stackpin.registry.auth import Authorizer, Challenge, Credentials, challenges
from stackpin.registry.errors import BadAnswer, Unauthorized
from stackpin.registry.reference import Reference, api_host, is_digest, parse

PART = st.builds(
    "{}{}{}".format,
    st.sampled_from(["a", "team9", "0", "localhost"]),
    st.sampled_from(["", ".", "_", "__", "-", "---"]),
    st.sampled_from(["b", "7", "app"]),
)
TAG = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", fullmatch=True)
DIGEST = st.builds("sha256:{:064x}".format, st.integers(0, 2**256 - 1))
HOST = st.one_of(
    st.builds("{}.{}".format, st.sampled_from(["a", "b-c", "9"]), st.just("example")),
    st.builds("{}:{}".format, st.just("10.0.0.5"), st.integers(1, 65535)),
    st.just("localhost"),
    st.just("[::1]:5000"),
)


@given(HOST, st.lists(PART, min_size=1, max_size=4), st.none() | TAG, st.none() | DIGEST)
def test_there_and_back(host: str, parts: list[str], tag: str | None, digest: str | None) -> None:
    reference = Reference(host, "/".join(parts), tag, digest)
    assert parse(str(reference)) == reference


@given(PART, st.lists(PART, max_size=2), st.none() | TAG)
def test_docker_hub(first: str, rest: list[str], tag: str | None) -> None:
    path = "/".join([first, *rest])
    text = path + (f":{tag}" if tag else "")
    if rest and ("." in first or first == "localhost"):
        return  # that is a registry
    found = parse(text)
    assert found.registry == "docker.io"
    assert found.repository == (path if rest else f"library/{path}")
    assert parse(f"docker.io/{text}") == parse(f"index.docker.io/{text}") == found
    assert api_host(found.registry) == "registry-1.docker.io"


@given(st.text(max_size=60))
def test_any_text_is_refused_or_read_the_same_again(text: str) -> None:
    try:
        found = parse(text)
    except Refused:
        return
    assert parse(str(found)) == found


@pytest.mark.parametrize(
    "text",
    ["", ":v1", "app:", "App", "team//app", "team/app:v1:v2", "app@sha256:12", "10.0.0.5:99999/app",
     "-x.example/app", "app:v1@", "http://host.example/app", "a" * 300, "app:-x", "app v1"],
)  # fmt: skip
def test_refused(text: str) -> None:
    with pytest.raises(Refused, match="Write it as"):
        parse(text)


def test_digests() -> None:
    assert is_digest("sha256:" + "0" * 64)
    assert not is_digest("sha256:" + "0" * 64 + "\n")
    assert not is_digest("sha512:" + "0" * 64)


VALUE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
NAME = st.from_regex(r"[a-z]{2,8}", fullmatch=True)


@given(st.lists(st.tuples(NAME, st.dictionaries(NAME, VALUE, max_size=3)), max_size=3))
@settings(max_examples=60)
def test_challenges(offered: list[tuple[str, dict[str, str]]]) -> None:
    def quoted(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    header = ", ".join(
        f"{scheme.title()} " + ", ".join(f"{n}={quoted(v)}" for n, v in parameters.items())
        for scheme, parameters in offered
    )
    assert challenges(header) == [Challenge(scheme, parameters) for scheme, parameters in offered]


@given(st.text(max_size=80))
def test_any_header_is_read(text: str) -> None:
    challenges(text)


def test_bearer_wins_over_basic_and_tokens_run_out() -> None:
    now, asked = [0.0], []

    def fetch(url: str, basic: str | None, _image: str) -> bytes:
        asked.append((url, basic))
        return b'{"access_token": "abc", "expires_in": 100}'

    user = Credentials("u", "geheim-geheim")
    one = Authorizer("r", user, fetch, now=lambda: now[0])
    header = 'Basic realm="x", Bearer realm="https://auth.example/t?a=1",service="s p"'
    assert one.header("team/app") is None
    assert one.answer(header, "team/app", "i") == "Bearer abc"
    assert asked == [
        ("https://auth.example/t?a=1&scope=repository%3Ateam%2Fapp%3Apull&service=s+p", user.basic)
    ]
    assert one.header("team/app") == "Bearer abc"
    assert one.header("team/other") is None
    now[0] = 95
    assert one.header("team/app") is None
    assert "geheim" not in repr(user)


@pytest.mark.parametrize(
    ("header", "error"),
    [
        ('Bearer realm="http://auth.example/t"', BadAnswer),
        ('Bearer realm="https://u:p@auth.example/t"', BadAnswer),
        ("Bearer", BadAnswer),
        ("Negotiate", BadAnswer),
        ('Basic realm="x"', Unauthorized),
    ],
)
def test_what_cannot_be_answered(header: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        Authorizer("r", None, lambda *_: b'{"token": "t"}').answer(header, "a", "i")


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"token": 1}', b'{"token": "a\\r\\nX: y"}'])
def test_a_token_server_without_token(body: bytes) -> None:
    with pytest.raises(BadAnswer, match="without a token"):
        Authorizer("r", None, lambda *_: body).answer('Bearer realm="https://a.example"', "a", "i")
