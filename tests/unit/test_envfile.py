"""Environment files: what is written is what the host reads, for any printable token."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stackpin.config.envfile import UnwritableError, render_env, unwritable
from stackpin.host.envfile import parse_env

TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs"])).filter(lambda t: not unwritable(t))
HOSTILE = st.text(alphabet="$&|/\"'`\\ #;=%{}!*?~<>()[]ab\u00e9\U0001f600", max_size=40)
NAME = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,12}", fullmatch=True)


@given(st.dictionaries(NAME, TEXT | HOSTILE, max_size=5))
@settings(max_examples=200, deadline=None)
def test_round_trip(variables):
    assert parse_env(render_env(variables)) == variables


@pytest.mark.parametrize(
    "value", ["a\nb", "a\tb", "\0", "\x7f", "\x85", "\ud800", "\ufffe", "\ufdd0"]
)
def test_unwritable_values_are_refused_without_being_shown(value):
    with pytest.raises(UnwritableError, match="value of TOKEN") as caught:
        render_env({"TOKEN": "sekrit" + value})
    assert "sekrit" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "A=B", "A\n", "Ä"])
def test_names_which_are_none_are_refused(name):
    with pytest.raises(UnwritableError):
        render_env({name: "x"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("A=1", {"A": "1"}),
        ("  A =  1  \n", {"A": "1"}),
        ("# A=1\n; B=2\nC=3", {"C": "3"}),
        ("# ends \\\nA=1\nB=2", {"A": "1", "B": "2"}),
        ("no assignment\nA=1", {"A": "1"}),
        ('A=\'x y\'\nB="x\\"y"', {"A": "x y", "B": 'x"y'}),
        ('A="keeps \\n its backslash"', {"A": "keeps \\n its backslash"}),
        ("A='$x \\ y'", {"A": "$x \\ y"}),
        ("A=one\\\ntwo", {"A": "onetwo"}),
        ("A=1\nA=2", {"A": "2"}),
        ("A=", {"A": ""}),
        ("A=x#y ;z", {"A": "x#y ;z"}),
        ("A=b=c\r\nD=e", {"A": "b=c", "D": "e"}),
        ('A="two\nlines"\nB=1', {"A": "two\nlines", "B": "1"}),
        ('A="open', {"A": "open"}),
        ('A="open\\', {"A": "open"}),
        ('A="x" "y" z"w"', {"A": 'xyz"w"'}),
        ("A='a\\'b'", {"A": "a\\b'"}),
        ("A=it's\nB=1", {"A": "it's", "B": "1"}),
        ('A=a"b"', {"A": 'a"b"'}),
        ("1A=x\nA-B=y\nC=z", {"C": "z"}),
    ],
)
def test_reads_as_systemd_does(text, expected):
    assert parse_env(text) == expected


@given(st.text(alphabet="AB=\"'\\ \n\r#;$`\t", max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_to_its_end(text):
    parse_env(text)
