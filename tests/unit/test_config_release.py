"""Release ids name artifact, environment and unit; versions compare as versions."""

import pytest

from stackpin.config.release import Release, version_of
from stackpin.config.types import SecretRef, compare_tags, is_prerelease, is_release_tag
from stackpin.host.envfile import parse_env


def make(version="v1.0.0", sha="a" * 64, env=None, unit="[Service]", key="key"):
    return Release.make(version, sha, "server", env or {"A": "1"}, unit, key, created_by="me")


def test_id_is_stable_and_follows_every_part():
    others = [make(sha="b" * 64), make(env={"A": "2"}), make(unit="[Unit]"), make(key="other")]
    assert make().id == make().id
    assert len({release.id for release in [make(), *others]}) == 5
    assert Release.make("v1.0.0", "a" * 64, "n", {"A": "1"}, "[Service]", "key").id == make().id


def test_environment_names_its_release():
    release = make()
    assert parse_env(release.env_text) == {"A": "1", "STACKPIN_RELEASE": release.id}


def test_secrets_stay_out_of_repr_and_json():
    release = make(env={"T": "secret-token"})
    assert "secret-token" not in repr(release) + str(release.as_json())


@pytest.mark.parametrize("version", ["v1.0.0", "v1.0.0-rc.1", "v10.20.30-a-b.7"])
def test_version_of_an_id(version):
    assert version_of(make(version).id) == version


@pytest.mark.parametrize(
    "text", ["", "v1.0.0", "../v1.0.0-12345678", "v1.0.0-1234567g", "v1/0-12345678"]
)
def test_what_is_no_id(text):
    assert version_of(text) == ""


def test_tags_compare_as_versions():
    assert compare_tags("v1.10.0", "v1.9.0") == 1
    assert compare_tags("v1.0.0-rc.1", "v1.0.0") == -1
    assert compare_tags("v1.0.0", "v1.0.0") == 0
    assert is_prerelease("v1.0.0-rc.1")
    assert not is_prerelease("v1.0.0")
    assert not is_release_tag("v1.0.0\n")


def test_references_read_back():
    for text in ("env:A_B", "file:~/x y", "command:pass show a:b", "age:secrets/x.age"):
        assert str(SecretRef.of(text)) == text
