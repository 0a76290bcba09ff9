"""Where artifacts come from: what is accepted, what {version} becomes, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from infracore_parts import files, parts

from stackpin.config.mirrors import PROFILES, Mirrors, mirrors
from stackpin.config.problems import ConfigProblems
from stackpin.config.sources import SOURCE, FileSource, GitSource, UrlSource, file, git, image, url

SHA, OTHER = "a" * 64, "b" * 64
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def source(value: dict[str, Any]) -> Any:
    return files(artifact=value).artifact


def test_version_is_filled_in_everywhere_but_in_the_build() -> None:
    made = source(git("../repo", "{version}", ["echo ${version}"], ["out/{version}"]))
    assert isinstance(made, GitSource)
    now = made.at("v1.2.0")
    assert (now.ref, now.outputs) == ("v1.2.0", ["out/v1.2.0"])
    assert now.build == ["echo ${version}"]
    assert source(file("a/{version}/x")).at("v1.0.0").path == "a/v1.0.0/x"
    assert source(image("r.example/app:{version}", ["bin"])).at("v1.0.0").image.endswith(":v1.0.0")


def test_a_digest_per_version() -> None:
    made = source(url("https://x.example/{version}.tar.gz", {"v1.0.0": SHA, "v1.1.0": OTHER}))
    assert isinstance(made, UrlSource)
    assert made.at("v1.1.0").sha256 == OTHER
    assert made.at("v1.2.0").sha256 is None
    assert source(file("x", SHA)).at("v9.9.9").sha256 == SHA


def test_a_source_is_what_validates_alone_too() -> None:
    assert isinstance(SOURCE.validate_python(file("x")), FileSource)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (file("a-{tag}"), "no placeholder but {version}"),
        (file("x", "1"), "64 hexadecimal digits"),
        (file("x", {"latest": SHA}), "64 hexadecimal digits"),
        (url("ftp://x.example/a", SHA), "http:// or https:// URL"),
        (url("https://u:p@x.example/a", SHA), "without user and password"),
        (git("https://u:p@x.example/r", outputs=["bin"]), "without a password"),
        (git("https://token@x.example/r", outputs=["bin"]), "without a password"),
        (git("--upload-pack=x", outputs=["bin"]), "Git repository"),
        (git("r", "-x", outputs=["bin"]), "a tag, a branch or a commit"),
        (git("r", "a..b", outputs=["bin"]), "a tag, a branch or a commit"),
        (git("r"), "at least 1"),
        (git("r", outputs=["../bin"]), "without .."),
        (git("r", outputs=["/bin"]), "without .."),
        (git("r", outputs=["."]), "without .."),
        (git("r", outputs=["bin"], env={"MY_TOKEN": "x"}), "no secret"),
        (git("r", outputs=["bin"], env={"A B": "x"}), "environment variables"),
        (git("r", outputs=["bin"], mirrors="us"), "'none' or 'cn'"),
        (git("r", outputs=["bin"], mirrors={"npm": "https://u@x.example"}), "without user"),
        (git("r", outputs=["bin"], build_host="-oProxyCommand=x"), "as ssh takes it"),
        (image("app:latest", ["bin"]), "other than latest"),
        (image("app", ["bin"]), "with its tag"),
        ({"kind": "tar", "path": "x"}, "'file', 'url', 'git', 'image'"),
        ({"path": "x"}, '"kind"'),
    ],
)
def test_wrong_sources_name_the_variable(value: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigProblems) as caught:
        source(value)
    assert "infracore_artifact" in str(caught.value)
    assert told in str(caught.value)
    assert "['git']" not in str(caught.value)
    assert ":p@" not in str(caught.value) and "token@" not in str(caught.value)


@pytest.mark.parametrize("ref", ["{version}", "v1.0.0", "refs/tags/2024-1", COMMIT])
def test_production_builds_what_cannot_move(ref: str) -> None:
    assert parts(production=True, artifact=git("r", ref, outputs=["bin"]))


@pytest.mark.parametrize("ref", ["main", "release/{version}", COMMIT[:12], "latest"])
def test_production_refuses_what_moves(ref: str) -> None:
    assert files(artifact=git("r", ref, outputs=["bin"]))
    with pytest.raises(ConfigProblems, match="stackpin_production"):
        parts(production=True, artifact=git("r", ref, outputs=["bin"]))


def test_production_wants_an_images_digest() -> None:
    with pytest.raises(ConfigProblems, match="digest"):
        parts(production=True, artifact=image("app:{version}", ["bin"]))
    assert parts(production=True, artifact=image("app:{version}", ["bin"], sha256=SHA))


def test_mirrors_reach_go_and_npm() -> None:
    env = mirrors("cn").build_env()
    assert env["GOPROXY"] == env["GO_PROXY"] == f"{PROFILES['cn'].goproxy},direct"
    assert env["npm_config_registry"] == PROFILES["cn"].npm
    assert mirrors("none").build_env() == {}
    own = files(mirrors={"docker": "https://mirror.example.org/"}).mirrors
    assert own == Mirrors(docker="https://mirror.example.org")


def test_one_choice_reaches_docker_and_the_build() -> None:
    made = files(mirrors="cn", artifact=git("r", outputs=["bin"]))
    assert isinstance(made.artifact, GitSource) and made.artifact.mirrors == "cn"
    assert made.registry_mirrors == [PROFILES["cn"].docker]
    other = files(
        mirrors={"docker": "https://a.example", "npm": "https://b.example"},
        registry_mirrors=["https://c.example"],
        artifact=git("r", outputs=["bin"], mirrors="none"),
    )
    assert isinstance(other.artifact, GitSource) and other.artifact.mirrors == "none"
    assert other.registry_mirrors == ["https://c.example"]
    assert files().registry_mirrors == []
    with pytest.raises(ConfigProblems, match="infracore_mirrors"):
        files(mirrors=["https://a.example"])
