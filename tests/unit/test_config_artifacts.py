"""The pinned artifact: found, proven, or refused with what to do."""

import hashlib
from types import SimpleNamespace

import pytest

from stackpin.artifacts import Artifact
from stackpin.config.sources import FileSource
from stackpin.errors import Refused

BODY = b"#!/usr/bin/env python3\n"
SHA = hashlib.sha256(BODY).hexdigest()


def pinned(sha=None, path="crm/crm-v1.0.0.pyz"):
    source = FileSource(path=path, sha256=sha)
    return SimpleNamespace(version="v1.0.0", output=lambda: None, source=lambda: source)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "crm").mkdir()
    (tmp_path / "crm/crm-v1.0.0.pyz").write_bytes(BODY)
    return tmp_path


def sums(root, text):
    (root / "crm/SHA256SUMS").write_text(text)


def test_by_setting_and_by_sums(root):
    found = Artifact.locate(pinned(SHA), root)
    assert (found.name, found.sha256, found.size) == ("crm-v1.0.0.pyz", SHA, len(BODY))
    sums(root, f"{'0' * 64}  other\n{SHA.upper()} *./crm-v1.0.0.pyz\n")
    assert Artifact.locate(pinned(), root) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "sha256sum crm-v1.0.0.pyz >> SHA256SUMS"),
        ("", "no line"),
        (f"{SHA}  crm-v1.0.0.pyz.sig\n", "no line"),
        (f"{SHA}  crm-v1.0.0.pyz\n{'0' * 64}  crm-v1.0.0.pyz\n", "2 different digests"),
        (f"{'0' * 64}  crm-v1.0.0.pyz\n", f"found SHA-256 {SHA}"),
    ],
)
def test_sums_refused(root, text, said):
    if text is not None:
        sums(root, text)
    with pytest.raises(Refused, match="artifact of v1") as caught:
        Artifact.locate(pinned(), root)
    assert said in str(caught.value)


def test_missing_empty_folder_and_wrong(root):
    with pytest.raises(Refused, match="no such file"):
        Artifact.locate(pinned(SHA, "crm/none"), root)
    with pytest.raises(Refused, match="no file with content"):
        Artifact.locate(pinned(SHA, "/dev/null"), root)
    (root / "empty").touch()
    with pytest.raises(Refused, match="no file with content"):
        Artifact.locate(pinned(SHA, "empty"), root)
    with pytest.raises(Refused, match="from sha256"):
        Artifact.locate(pinned("0" * 64), root)
