"""Reads and bumps a version pin in group data: only the literal changes, byte for byte."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stackpin.config.types import release_tag
from stackpin.errors import Refused

_LITERAL = re.compile(rb"""(?P<open>\'{3}|["]{3}|['"])(?P<text>[!-~]*?)(?P=open)""")
_NEWLINE = re.compile(rb"\r\n|\r|\n")
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Pin:
    """One pin: `variable = "value"` at `line` (from 1) of `path`."""

    path: Path
    variable: str
    value: str
    line: int


def pin_file(inventory: Path) -> Path:
    """Name the group data file that holds an inventory's pins: inventories/group_data/prod.py."""
    return inventory.parent / "group_data" / f"{inventory.name.removesuffix('.py')}.py"


def read(path: Path, variable: str) -> Pin:
    """Find the pin. Raises Refused when it is absent, there twice, or no plain literal."""
    return _find(_source(path, variable), path, variable)[0]


def bump(path: Path, variable: str, version: str) -> Pin:
    """Replace the literal by `version`, atomically; return the pin as it was before.

    Raises Refused as `read` does, or when `version` is no release tag.
    """
    try:
        release_tag(version)
    except ValueError as error:  # PydanticCustomError is one
        raise Refused(f"{variable}: found {version!r}, expected {error}") from None
    return _replace(path, variable, version)


def restore(old: Pin, written: str) -> bool:
    """Put back the value that `bump` replaced by `written`, whatever it was. Raises Refused.

    False, and nothing done, when the file says something else by now: somebody's own decision.
    """
    if read(old.path, old.variable).value != written:
        return False
    _replace(old.path, old.variable, old.value)
    return True


def _replace(path: Path, variable: str, value: str) -> Pin:
    source = _source(path, variable)
    pin, start, stop = _find(source, path, variable)
    if pin.value != value:
        _write(path, source[:start] + value.encode("ascii") + source[stop:])
    return pin


def _source(path: Path, variable: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Refused(
            f"{path}: found {(error.strerror or str(error)).lower()}, expected a group data file "
            f'with {variable} = "v1.2.3". Make it.'
        ) from None


def _find(source: bytes, path: Path, variable: str) -> tuple[Pin, int, int]:
    """Find the pin, and from where to where its text goes (in bytes, without the quotes)."""
    try:
        tree = ast.parse(source)
        source.decode("utf-8")
    except (SyntaxError, ValueError) as error:
        raise Refused(f"{path}: found {error}, expected Python in UTF-8. Correct it.") from None
    bound = [node for node in ast.walk(tree) if variable in _names(node)]
    if len(bound) != 1:
        count = f"{len(bound)} times" if bound else "nowhere"
        lines = ", ".join(str(getattr(node, "lineno", "?")) for node in bound)
        raise Refused(
            f"{path}: found {variable} set {count}{f' (lines {lines})' if lines else ''}, "
            f'expected exactly one line {variable} = "v1.2.3". Correct it.'
        )
    node, value = bound[0], None
    if isinstance(node, ast.Assign | ast.AnnAssign) and node in tree.body:
        plain = isinstance(node, ast.AnnAssign) or isinstance(node.targets[0], ast.Name)
        single = isinstance(node, ast.AnnAssign) or len(node.targets) == 1
        value = node.value if plain and single else None
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        begin, end = _offsets(source, value)
        match = _LITERAL.fullmatch(source, begin, end)
        if match and match["text"].decode("ascii") == value.value:
            return Pin(path, variable, value.value, value.lineno), *match.span("text")
    raise Refused(
        f"{path}:{getattr(node, 'lineno', '?')}: found {variable} set by something else than a "
        f'plain literal, expected {variable} = "v1.2.3" on its own line. Rewrite it so.'
    )


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


def _offsets(source: bytes, node: ast.expr) -> tuple[int, int]:
    """Byte offsets of a node; ast counts columns in UTF-8 bytes, without a byte order mark."""
    starts = [len(_BOM) if source.startswith(_BOM) else 0]
    starts += [match.end() for match in _NEWLINE.finditer(source)]
    begin = starts[node.lineno - 1] + node.col_offset
    end = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
    return begin, end


def _write(path: Path, data: bytes) -> None:
    real = path.resolve()  # an inventory may be a symlink: replace what it points to
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
    folder = os.open(real.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
