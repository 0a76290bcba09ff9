"""A bump changes the literal and not one other byte."""

import ast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stackpin import pins
from stackpin.config.types import is_release_tag
from stackpin.errors import Refused

V = "crm_version"
NUMBER = st.integers(0, 9999)
TAGS = st.builds(
    "v{}.{}.{}{}".format, NUMBER, NUMBER, NUMBER, st.sampled_from(["", "-rc.1", "-dev.x", "-0a"])
)
NOISE = st.lists(
    st.sampled_from(
        [
            '# crm_version = "v9.9.9"',
            "other = 'v1.0.0'",
            "",
            "    # indented",
            's = """\ncrm_version = "v1"\n"""',
            "d = {'crm_version': 'v0.0.1'}",
            "# \u00e9\u4e2d\U0001f600",
            "t = '\u00e9'; u = 1",
            "def f(crm_version='v1.0.0'):\n    return crm_version",
            "y = 1 \\\n  + 1",
            "\x0c",
            "crm_version_old = 'v0.1.0'",
        ]
    ),
    max_size=6,
)
LINE = st.builds(
    "{}crm_version{}={}{q}{{}}{q}{}".format,
    st.sampled_from(["", "a = 1; ", "b = '\u00e9'; "]),
    st.sampled_from(["", " ", "  ", ": str "]),
    st.sampled_from(["", " ", " \\\n  ", " (", " (\n  "]),
    st.sampled_from(["", "  # why \u00e9", " ; z = 2"]),
    q=st.sampled_from(['"', "'", '"""', "'''"]),
)


@given(
    NOISE, LINE, NOISE, TAGS, TAGS, st.sampled_from([b"\n", b"\r\n"]), st.booleans(), st.booleans()
)
@settings(max_examples=200, deadline=None)
def test_bump_keeps_everything_else(
    tmp_path_factory, before, line, after, old, new, end, bom, last
):
    if "(" in line:
        head, _, tail = line.partition("#")
        line = head.rstrip(" ;z=2") + ")" + ("#" + tail if tail else "")
    text = "\n".join([*before, line, *after]) + ("\n" if last else "")

    def encoded(version):
        return (b"\xef\xbb\xbf" if bom else b"") + text.replace("{}", version, 1).encode().replace(
            b"\n", end
        )

    try:
        ast.parse(encoded(old))
    except SyntaxError:
        return
    path = tmp_path_factory.mktemp("pins") / "prod.py"
    path.write_bytes(encoded(old))
    was = pins.bump(path, V, new)
    assert was.value == old
    assert path.read_bytes() == encoded(new)
    assert pins.read(path, V).value == new
    assert pins.restore(was, new)
    assert path.read_bytes() == encoded(old)


def test_what_somebody_else_wrote_meanwhile_stays(tmp_path):
    path = tmp_path / "prod.py"
    path.write_text(f'{V} = "v1.0.0"\n')
    was = pins.bump(path, V, "v1.1.0")
    path.write_text(f'{V} = "v1.2.0"\n')
    assert not pins.restore(was, "v1.1.0")
    assert pins.read(path, V).value == "v1.2.0"


@given(TAGS)
def test_generated_tags_are_tags(tag):
    assert is_release_tag(tag)


@pytest.mark.parametrize(
    "text",
    [
        "",
        'crm_version = "v1.0.0"\ncrm_version = "v1.0.0"\n',
        'if True:\n    crm_version = "v1.0.0"\n',
        'crm_version = other = "v1.0.0"\n',
        'crm_version = "v1" ".0.0"\n',
        'crm_version = "v1.0.0" + ""\n',
        'crm_version = f"v1.0.0"\n',
        'crm_version = r"v1.0.0"\n',
        'crm_version = "v1.0\\x2e0"\n',
        'crm_version = ("v1.0.0",)\n',
        'crm_version, b = "v1.0.0", 1\n',
        "crm_version: str\n",
        "crm_version = 1\n",
        "crm_version = None\n",
        'crm_version = "v1.0.0"\ndel crm_version\n',
        'crm_version = "v1.0.0"\ncrm_version += "x"\n',
        'crm_version = "v1.0.0"\nfor crm_version in []: pass\n',
        'from x import crm_version\ncrm_version = "v1.0.0"\n',
        'crm_version = "v1.0.0"\nprint(crm_version := "v2.0.0")\n',
        "crm_version = (\n",
        "# -*- coding: latin-1 -*-\nx = '\xe9'\ncrm_version = 'v1.0.0'\n",
    ],
)
def test_refused_and_untouched(tmp_path, text):
    path = tmp_path / "prod.py"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(Refused) as caught:
        pins.bump(path, V, "v2.0.0")
    assert str(path) in str(caught.value)
    assert path.read_bytes() == text.encode("latin-1")
    assert [p.name for p in tmp_path.iterdir()] == ["prod.py"]


@pytest.mark.parametrize("version", ["latest", "", "1.0.0", "v1", 'v1.0.0"; import os', "v1.0.0\n"])
def test_bump_takes_release_tags_only(tmp_path, version):
    path = tmp_path / "prod.py"
    path.write_text('crm_version = "v1.0.0"\n')
    with pytest.raises(Refused, match="release tag"):
        pins.bump(path, V, version)
    assert path.read_text() == 'crm_version = "v1.0.0"\n'


def test_mode_and_symlink_are_kept(tmp_path):
    real = tmp_path / "real.py"
    real.write_text('crm_version = "v1.0.0"\n')
    real.chmod(0o640)
    link = tmp_path / "prod.py"
    link.symlink_to("real.py")
    pins.bump(link, V, "v1.1.0")
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert real.read_text() == 'crm_version = "v1.1.0"\n'


def test_absent_file(tmp_path):
    with pytest.raises(Refused, match="no such file"):
        pins.read(tmp_path / "prod.py", V)


def test_pin_file_of_an_inventory(tmp_path):
    for name in ("prod", "prod.py"):
        found = pins.pin_file(tmp_path / name)
        assert found == tmp_path / "group_data" / "prod.py"
