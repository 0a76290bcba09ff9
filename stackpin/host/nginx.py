"""Change nginx's configuration so that a bad one never replaces a good one.

Everything is tried first on a copy of /etc/nginx; only what nginx itself accepts is written.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from stackpin.host import disk, system
from stackpin.host.errors import HostError, failed, refused
from stackpin.host.mutex import state_dir
from stackpin.host.stack import Stack

__all__ = ["COMMANDS", "check_present"]

HOME = "/etc/nginx"
TEXT_LIMIT = 4 * 1024 * 1024  # bytes; a larger file in /etc/nginx is no configuration


class Wanted(NamedTuple):
    """What should be under /etc/nginx: texts by path, link targets by path, links that go."""

    files: dict[str, str]
    enable: dict[str, str]
    disable: list[str]


def nginx_test(stack: Stack, payload: dict[str, Any]) -> dict[str, Any]:
    """Say whether nginx would accept a change; nothing is replaced.

    payload: {files: {path: text}, enable: {link: target}, disable: [link]}, all below /etc/nginx.
    Returns {message, would_change: [path]}. Raises HostError(refused) with nginx's own message,
    detail {output, file, line}.
    """
    wanted = _wanted(payload)
    message = _try(stack, wanted)
    return {"message": message, "would_change": _changes(stack, wanted)}


def nginx_apply(stack: Stack, payload: dict[str, Any]) -> dict[str, Any]:
    """Make a change nginx accepts and reload it, if anything changed or an earlier reload is due.

    A marker lies beside the state from before the first file is written until nginx was reloaded:
    a program killed in between leaves files that nginx has not read.
    payload as of nginx_test. Returns {message, changed: [path], reloaded}. Raises
    HostError(refused) when nginx does not accept it, HostError(error) when the reload failed; in
    both cases the files are as before.
    """
    wanted = _wanted(payload)
    message = _try(stack, wanted)
    changed = _changes(stack, wanted)
    due = stack.nginx_reload_file.exists()
    if not changed and not due:
        return {"message": message, "changed": [], "reloaded": False}
    undo = [_keep(stack.at(path)) for path in changed]
    try:
        if not due:
            state_dir(stack)
            disk.atomic_write(stack.nginx_reload_file, b"")
        _write(wanted, changed, stack.at)
        # Once more where it counts: the copy is not the place nginx reads.
        message = _judge(system.run(["nginx", "-t"], check=False), None)
        due = True  # from here on what nginx has read is not known until it says so
        reloaded = _reload()
    except BaseException:
        for restore in reversed(undo):
            restore()
        if not due:
            disk.remove_file(stack.nginx_reload_file)
        raise
    disk.remove_file(stack.nginx_reload_file)
    return {"message": message, "changed": changed, "reloaded": reloaded}


def check_present() -> str:
    """Return nginx's word on the configuration as it is.

    Raises HostError(refused) with nginx's message, detail {output, file, line}.
    """
    with _staged(Path(HOME)) as stage:
        return _run(stage)


def _wanted(payload: dict[str, Any]) -> Wanted:
    wanted = Wanted(
        dict(payload.get("files") or {}),
        dict(payload.get("enable") or {}),
        list(payload.get("disable") or []),
    )
    for path in [*wanted.files, *wanted.enable, *wanted.disable]:
        if os.path.normpath(path) != path or not path.startswith(HOME + "/"):
            raise refused(f"{path}: expected a plain path below {HOME}", path=path)
    return wanted


def _try(stack: Stack, wanted: Wanted) -> str:
    home = stack.at(HOME)
    if not (home / "nginx.conf").is_file():
        raise refused(f"{home}/nginx.conf: not found; install nginx first (apt-get install nginx)")
    with _staged(home) as stage:

        def inside(path: str) -> Path:
            return stage / Path(path).relative_to(HOME)

        _write(wanted, [*wanted.files, *wanted.enable, *wanted.disable], inside)
        for path in wanted.files:
            _rewrite(inside(path), stage)
        _point_inside(stage)
        return _run(stage)


@contextmanager
def _staged(home: Path) -> Iterator[Path]:
    """Copy the configuration to a private directory where absolute includes stay in the copy."""
    base = Path(tempfile.mkdtemp(prefix="stackpin-nginx-"))  # 0700: it may hold keys
    try:
        stage = base / "nginx"
        shutil.copytree(home, stage, symlinks=True)
        for path in stage.rglob("*"):
            if path.is_file() and not path.is_symlink():
                _rewrite(path, stage)
        _point_inside(stage)
        yield stage
    finally:
        shutil.rmtree(base, ignore_errors=True)


def _rewrite(path: Path, stage: Path) -> None:
    if path.stat().st_size > TEXT_LIMIT:
        return
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return
    new = re.sub(rf"(?<![\w./-]){HOME}(?=[/\s;\"'])", str(stage), text)
    if path == stage / "nginx.conf":
        # A test must not touch the pid file of the nginx that runs.
        new = re.sub(r"(?m)^(\s*pid\s+)[^;]+;", rf"\g<1>{stage.parent}/nginx.pid;", new)
    if new != text:
        path.write_text(new, encoding="utf-8")


def _point_inside(stage: Path) -> None:
    """Make absolute links (sites-enabled, as Debian makes them) point into the copy."""
    for path in stage.rglob("*"):
        if path.is_symlink():
            target = str(path.readlink())
            if target.startswith(HOME + "/"):
                path.unlink()
                path.symlink_to(stage / Path(target).relative_to(HOME))


def _run(stage: Path) -> str:
    done = system.run(["nginx", "-t", "-c", str(stage / "nginx.conf")], timeout=30.0, check=False)
    return _judge(done, stage)


def _judge(done: system.Result, stage: Path | None) -> str:
    """Return nginx's message about the real paths, or raise HostError(refused) with it."""
    output = (done.err + done.out).strip()
    if stage is not None:
        output = output.replace(str(stage), HOME)
    if done.ok:
        warnings = [line for line in output.splitlines() if "[warn]" in line]
        return "\n".join(warnings) or "nginx: the configuration test is successful"
    problem = next(
        (line for line in output.splitlines() if re.search(r"\[(emerg|alert|crit|error)\]", line)),
        output.splitlines()[0] if output else f"exit status {done.code}",
    )
    place = re.search(r" in (/\S+):(\d+)$", problem)
    raise refused(
        f"nginx refuses the configuration, nothing was replaced: {problem}",
        output=output,
        file=place.group(1) if place else None,
        line=int(place.group(2)) if place else None,
    )


def _changes(stack: Stack, wanted: Wanted) -> list[str]:
    changed = []
    for path, text in wanted.files.items():
        real = stack.at(path)
        if real.is_symlink() or not real.is_file() or real.read_bytes() != text.encode():
            changed.append(path)
    for path, target in wanted.enable.items():
        real = stack.at(path)
        if not real.is_symlink() or str(real.readlink()) != target:
            changed.append(path)
    changed += [path for path in wanted.disable if os.path.lexists(stack.at(path))]
    return changed


def _write(wanted: Wanted, paths: list[str], place: Callable[[str], Path]) -> None:
    for path in paths:
        real = place(path)
        if path in wanted.disable:
            real.unlink(missing_ok=True)
            continue
        real.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if path in wanted.files:
            disk.atomic_write(real, wanted.files[path].encode(), 0o644)
        else:
            disk.replace_link(real, wanted.enable[path])


def _keep(path: Path) -> Callable[[], None]:
    """Remember what is at `path`; the returned function puts it back."""
    if path.is_symlink():
        target = str(path.readlink())
        return lambda: disk.replace_link(path, target)
    if path.is_file():
        data, mode = path.read_bytes(), path.stat().st_mode & 0o7777
        return lambda: disk.atomic_write(path, data, mode)
    return lambda: path.unlink(missing_ok=True)


def _reload() -> bool:
    """Reload nginx if it runs; a stopped one reads its configuration when it starts."""
    if not system.run(["systemctl", "is-active", "-q", "nginx"], check=False).ok:
        return False
    try:
        system.run(["systemctl", "reload", "nginx"], timeout=30.0)
    except HostError as problem:
        raise failed(
            f"nginx was not reloaded, its files are as before: {problem.message}"
        ) from None
    return True


COMMANDS = {"nginx-test": nginx_test, "nginx-apply": nginx_apply}
