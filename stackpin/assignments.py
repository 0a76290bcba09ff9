"""Edits plain assignments of a Python file in place: only literals change, byte for byte."""

from __future__ import annotations

import ast
import contextlib
import fcntl
import io
import json
import os
import re
import tempfile
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stackpin.errors import Refused

__all__ = ["Edit", "bound", "edited", "literal", "parse", "plain_value", "span", "write"]

WIDTH = 100
_NEWLINE = re.compile(rb"\r\n|\r|\n")
_BOM = b"\xef\xbb\xbf"
Edit = tuple[int, int, str]  # from byte, to byte, new text


def edited(source: bytes, path: Path, variable: str, value: Any) -> bytes:  # noqa: ANN401 - JSON
    """Return `source` with `variable = value`; `value` is made of what JSON is made of.

    Entries of a mapping or list that has the same shape change alone, so that comments beside the
    others stay; a variable that is not set yet goes to the end. Raises Refused, with file and line,
    for one set twice, or by anything else than a literal, and where a comment would be lost.
    """
    tree = parse(source, path)
    nodes = bound(tree, variable)
    newline = "\r\n" if b"\r\n" in source else "\n"
    if not nodes:
        gap = b"" if not source or source.endswith((b"\n", b"\r")) else newline.encode()
        text = f"{variable} = {literal(value, len(variable) + 3)}\n".replace("\n", newline)
        return source + gap + text.encode("utf-8")
    lines = ", ".join(str(getattr(node, "lineno", "?")) for node in nodes)
    if len(nodes) > 1:
        raise Refused(
            f"{path}: found {variable} set {len(nodes)} times (lines {lines}), expected once. "
            "Correct it by hand."
        )
    expression = plain_value(tree, nodes[0])
    if expression is None or not _is_literal(expression):
        raise Refused(
            f"{path}:{lines}: found {variable} computed by an expression, expected a plain value. "
            "Change it there by hand."
        )
    edits = list(_edits(source, path, expression, value))
    for begin, end, text in sorted(edits, reverse=True):
        source = source[:begin] + text.replace("\n", newline).encode("utf-8") + source[end:]
    return source


def parse(source: bytes, path: Path) -> ast.Module:
    """Parse a file's content. Raises Refused when it is no Python in UTF-8."""
    try:
        source.decode("utf-8")
        return ast.parse(source)
    except (SyntaxError, ValueError) as error:
        raise Refused(f"{path}: found {error}, expected Python in UTF-8. Correct it.") from None


def bound(tree: ast.Module, variable: str) -> list[ast.AST]:
    """Return every node that binds `variable`, wherever it is."""
    return [node for node in ast.walk(tree) if variable in _names(node)]


def plain_value(tree: ast.Module, node: ast.AST) -> ast.expr | None:
    """Return the value of a statement `name = value` on the file's top level, else None."""
    if not isinstance(node, ast.Assign | ast.AnnAssign) or node not in tree.body:
        return None
    if isinstance(node, ast.AnnAssign):
        return node.value
    plain = len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)
    return node.value if plain else None


def span(source: bytes, node: ast.expr) -> tuple[int, int]:
    """Byte offsets of a node; ast counts columns in UTF-8 bytes, without a byte order mark."""
    starts = [len(_BOM) if source.startswith(_BOM) else 0]
    starts += [match.end() for match in _NEWLINE.finditer(source)]
    begin = starts[node.lineno - 1] + node.col_offset
    end = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
    return begin, end


def literal(value: Any, column: int = 0, indent: int = 0) -> str:  # noqa: ANN401 - JSON
    """Return Python text of a value, on one line where it fits behind `column` characters."""
    short = _short(value)
    if column + len(short) <= WIDTH or not isinstance(value, dict | list) or not value:
        return short
    inner = indent + 4
    if isinstance(value, dict):
        heads = [f"{_short(key)}: " for key in value]
        texts = [
            head + literal(entry, inner + len(head), inner)
            for head, entry in zip(heads, value.values(), strict=True)
        ]
        opening, closing = "{", "}"
    else:
        texts = [literal(entry, inner, inner) for entry in value]
        opening, closing = "[", "]"
    rows = "".join(f"{' ' * inner}{text},\n" for text in texts)
    return f"{opening}\n{rows}{' ' * indent}{closing}"


def write(path: Path, before: bytes, after: bytes) -> None:
    """Replace the file's content at once, under a lock other writers of its folder wait for.

    Raises Refused, and writes nothing, when it is not `before` any more.
    """
    real = path.resolve()  # an inventory may be a symlink: replace what it points to
    folder = os.open(real.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if real.read_bytes() != before:
            raise Refused(f"{path}: was changed meanwhile. Nothing was written: run it again.")
        _replace(real, after)
        os.fsync(folder)
    finally:
        # By name: gevent puts closing off, and the next writer would wait for this process.
        fcntl.flock(folder, fcntl.LOCK_UN)
        os.close(folder)


def _replace(real: Path, data: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=real.parent, prefix=f".{real.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            status = real.stat()
            os.fchmod(file.fileno(), status.st_mode & 0o7777)
            with contextlib.suppress(PermissionError):
                os.fchown(file.fileno(), status.st_uid, status.st_gid)
            os.fsync(file.fileno())
        Path(name).replace(real)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _edits(source: bytes, path: Path, node: ast.expr, value: Any) -> Iterator[Edit]:  # noqa: ANN401
    """Yield what to change so that `node` says `value`, as little as possible."""
    now = ast.literal_eval(node)
    if now == value and type(now) is type(value):
        return
    if isinstance(node, ast.Dict) and isinstance(value, dict) and list(now) == list(value):
        for entry, wanted in zip(node.values, value.values(), strict=True):
            yield from _edits(source, path, entry, wanted)
        return
    if isinstance(node, ast.List) and isinstance(value, list) and len(now) == len(value):
        for entry, wanted in zip(node.elts, value, strict=True):
            yield from _edits(source, path, entry, wanted)
        return
    _require_no_comment(source, path, node)
    line = _NEWLINE.split(source)[node.lineno - 1]
    indent = len(line) - len(line.lstrip(b" "))
    yield (*span(source, node), literal(value, node.col_offset, indent))


def _require_no_comment(source: bytes, path: Path, node: ast.expr) -> None:
    first, last = (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)
    for token in tokenize.tokenize(io.BytesIO(source).readline):
        # ast counts bytes, tokenize characters.
        place = (token.start[0], len(token.line[: token.start[1]].encode("utf-8")))
        if token.type == tokenize.COMMENT and first < place < last:
            raise Refused(
                f"{path}:{token.start[0]}: found a comment inside the value that would be lost. "
                "Change this one by hand."
            )


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def _short(value: Any) -> str:  # noqa: ANN401 - JSON
    """Python text on one line, quoted as the rest of an inventory is."""
    if isinstance(value, str):
        # JSON's escapes of a text are Python's as well, once other characters stay themselves.
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_short(k)}: {_short(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_short, value)) + "]"
    return repr(value)


def _names(node: ast.AST) -> Iterator[str]:
    """List the names a statement or expression binds."""
    if isinstance(node, ast.Assign):
        targets: list[ast.AST] = list(node.targets)
    elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.For | ast.NamedExpr):
        targets = [node.target]
    elif isinstance(node, ast.withitem) and node.optional_vars is not None:
        targets = [node.optional_vars]
    elif isinstance(node, ast.Delete):
        targets = list(node.targets)
    elif isinstance(node, ast.alias):
        yield node.asname or node.name
        return
    elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
        yield node.name
        return
    else:
        return
    for target in targets:
        for inner in ast.walk(target):
            if isinstance(inner, ast.Name):
                yield inner.id
