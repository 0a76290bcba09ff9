"""Assignments are edited in place: every other byte stays, and what is no literal is refused."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackpin.assignments import edited, literal, write
from stackpin.errors import Refused

PATH = Path("prod.py")
SOURCE = b"""\
# Where it runs.
import os

x_port = 80  # public
x_gate = {
    # be patient
    "settle": 1.0,
    "timeout": 60.0,  # seconds
}
x_env = f"{os.sep}"
x_list: list[str] = ["a", "b"]
"""


def change(variable: str, value: Any, source: bytes = SOURCE) -> bytes:
    return edited(source, PATH, variable, value)


def test_only_the_literal_changes() -> None:
    assert change("x_port", 8080) == SOURCE.replace(b"= 80 ", b"= 8080 ")
    assert change("x_port", 80) == SOURCE
    assert change("x_list", ["a", "c"]) == SOURCE.replace(b'"b"', b'"c"')
    assert change("x_list", []) == SOURCE.replace(b'["a", "b"]', b"[]")


def test_entries_of_the_same_shape_change_alone_and_comments_stay() -> None:
    after = change("x_gate", {"settle": 1.0, "timeout": 90.0})
    assert after == SOURCE.replace(b"60.0,", b"90.0,")


def test_a_comment_that_would_be_lost_is_refused_with_its_line() -> None:
    with pytest.raises(Refused, match=r"prod\.py:6: found a comment"):
        change("x_gate", {"settle": 2.0})


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (SOURCE, r"prod\.py:10: found x_env computed by an expression"),
        (b"x_env = 1\nx_env = 2\n", r"x_env set 2 times \(lines 1, 2\)"),
        (b"if True:\n    x_env = 1\n", "computed by an expression"),
        (b"x_env = y = 1\n", "computed by an expression"),
        (b"for x_env in ():\n    pass\n", "computed by an expression"),
        (b"x_env = (\n", "expected Python"),
    ],
)
def test_what_is_no_plain_assignment_is_refused(source: bytes, told: str) -> None:
    with pytest.raises(Refused, match=told):
        change("x_env", "v", source)


@pytest.mark.parametrize(
    ("source", "after"),
    [
        (b"", b'x_new = "v"\n'),
        (b"a = 1", b'a = 1\nx_new = "v"\n'),
        (b"a = 1\r\n", b'a = 1\r\nx_new = "v"\r\n'),
        (b"\xef\xbb\xbfa = 1\n", b'\xef\xbb\xbfa = 1\nx_new = "v"\n'),
    ],
)
def test_a_new_one_goes_to_the_end(source: bytes, after: bytes) -> None:
    assert change("x_new", "v", source) == after


def test_long_values_take_lines_of_their_own() -> None:
    value = {"one": ["a" * 40, "b" * 40], "two": 2}
    text = literal(value, 10)
    assert ast.literal_eval(text) == value
    assert text.startswith('{\n    "one": ["aaaa')
    assert text.endswith('    "two": 2,\n}')


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, width=32)
    .filter(lambda number: abs(number) != float("inf")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(JSON, JSON)
def test_any_value_comes_back_and_the_rest_stays(before: Any, after: Any) -> None:
    try:
        source = f"# é\na = 1\nx = {literal(before)}  # ü\nb = 2\n".encode()
    except UnicodeEncodeError:
        return  # half a surrogate pair is no text a file can hold
    try:
        made = edited(source, PATH, "x", after)
    except UnicodeEncodeError:
        return
    found: dict[str, Any] = {}
    exec(compile(made, "x", "exec"), found)  # noqa: S102
    assert found["x"] == after
    assert (found["a"], found["b"]) == (1, 2)
    assert "# é".encode() in made
    assert "# ü".encode() in made


def test_writing_refuses_what_changed_meanwhile_and_keeps_the_mode(tmp_path: Path) -> None:
    path = tmp_path / "prod.py"
    path.write_bytes(b"a = 1\n")
    path.chmod(0o640)
    write(path, b"a = 1\n", b"a = 2\n")
    assert path.read_bytes() == b"a = 2\n"
    assert path.stat().st_mode & 0o777 == 0o640
    with pytest.raises(Refused, match="changed meanwhile"):
        write(path, b"a = 1\n", b"a = 3\n")
    assert path.read_bytes() == b"a = 2\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["prod.py"]
