"""The services of a compose project: finding them by label, and calling `docker compose`."""

from __future__ import annotations

import contextlib
import json
import pwd
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stackpin.host import releases, slots
from stackpin.host.drivers import docker
from stackpin.host.drivers.docker import Container
from stackpin.host.errors import HostError, failed
from stackpin.host.masking import Masker
from stackpin.host.progress import say
from stackpin.host.stack import SLOTS, Stack
from stackpin.host.system import Result

__all__ = ["FILE", "compose", "running", "up"]

FILE = "compose.yml"
OWN = "x-stackpin"  # our part of that file, which compose leaves alone
PROJECT_LABEL = "com.docker.compose.project"
HASH_LABEL = "com.docker.compose.config-hash"
UP = 300.0  # seconds compose may take to start services whose images are here
ASK = 60.0
MARK = "# stackpin"


def settings(stack: Stack) -> Mapping[str, Any]:
    """Return the `compose` part of stack.json."""
    return stack.compose or {}


def project(stack: Stack) -> str:
    """Return the name of the compose project."""
    return str(settings(stack).get("project") or stack.name)


def of_slot(stack: Stack, slot: str) -> str:
    """Return the service of a slot: server-blue."""
    return f"{settings(stack).get('slot_service') or 'server'}-{slot}"


def port(stack: Stack) -> int:
    """Return the port a server listens on inside its container."""
    return int(settings(stack).get("port") or 8888)


def depend(stack: Stack, release: str) -> list[str]:
    """List the services a release's server needs: started first, and left alone by a switch."""
    return _names(stack, release, "depend")


def front(stack: Stack, release: str) -> list[str]:
    """List the services in front of a release's server, renewed at a switch."""
    return _names(stack, release, "front")


def _names(stack: Stack, release: str, kind: str) -> list[str]:
    """Read what the release's own file says: a host goes back to one with other services, too."""
    said: Mapping[str, Any] = settings(stack)
    with contextlib.suppress(OSError, ValueError):
        text = (stack.release_dir(release) / FILE).read_text(encoding="utf-8")
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        said = json.loads("\n".join(lines)).get(OWN) or said
    return [str(name) for name in said.get(kind) or []]


def linked(stack: Stack, slot: str) -> str:
    """Return the release of a slot. Raises HostError(error) when it has none."""
    release = slots.linked(stack, slot)
    if release is None:
        raise failed(f"{stack.name}: slot {slot} holds no release; deploy again")
    return release


def running(stack: Stack) -> dict[str, Container]:
    """Return {service: container} of the project, stopped ones too.

    Of a service with several containers (an unfinished renewal) the one that runs counts, else
    the newest.
    """
    found: dict[str, Container] = {}
    for item in docker.containers(stack):
        name = item.service
        if name is None or item.labels.get(PROJECT_LABEL) != project(stack):
            continue
        if name not in found or (item.state == "running" != found[name].state):
            found[name] = item
    return found


def healthy(found: dict[str, Container], name: str) -> bool:
    """Tell whether a service runs and, if it has a health check, passes it."""
    item = found.get(name)
    return item is not None and item.state == "running" and item.health in {None, "healthy"}


def address(item: Container | None) -> str | None:
    """Return the address of a running container on its first network."""
    if item is None or item.state != "running":
        return None
    return next(iter(item.networks.values()), None)


def config_hash(item: Container) -> str | None:
    """Return the hash of what compose made the container from."""
    return item.labels.get(HASH_LABEL)


def compose(
    stack: Stack,
    release: str,
    *words: str,
    timeout: float = ASK,
    check: bool = True,
    slots: tuple[str, ...] = SLOTS,
) -> Result:
    """Run `docker compose` on a release's file. Raises HostError(error) with its own words.

    slots: those the file has a service for, and which are given their variables.
    """
    folder = stack.release_dir(release)
    if not (folder / FILE).is_file():
        raise failed(f"{folder / FILE}: absent; deploy this release again")
    argv = ["compose", "--ansi=never", "--progress=plain", f"--project-name={project(stack)}"]
    argv += [f"--project-directory={folder}", f"--file={folder / FILE}", "--file=-"]
    argv += [f"--profile={slot}" for slot in slots]
    values = client(releases.environment(stack, release, None))
    own = {"STACKPIN_RELEASE": release, "STACKPIN_USER": account(stack.user)}
    done = docker.docker(
        *argv,
        *words,
        data=overlay(stack, release, slots),
        # Stacks may share a project: what is another's there is no orphan.
        env={**values, **own, "COMPOSE_IGNORE_ORPHANS": "1"},
        timeout=timeout,
        check=False,
    )
    if check and not done.ok:
        mask = Masker.of(releases.environment(stack, release, None))
        raise failed(
            f"docker compose {_command(words)} of {release}: {mask(_reason(done))}", code=done.code
        )
    return done


def account(user: str) -> str:
    """Return uid:gid of an account, which owns what containers share with the host; "" for none."""
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        return ""
    return f"{found.pw_uid}:{found.pw_gid}"


def client(values: Mapping[str, str]) -> dict[str, str]:
    """Return variables for the environment of `docker`, without those it would itself obey."""
    own = ("PATH", "HOME", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_TLS_VERIFY")
    return {
        name: value
        for name, value in values.items()
        if name not in own and not name.startswith("COMPOSE_")
    }


def overlay(stack: Stack, release: str, slots: tuple[str, ...] = SLOTS) -> str:
    """Make the second document: exact variables for the slots, and no restart of their own.

    On the host's network a slot has variables of its own, its port above all, and its labels.
    """
    made = {of_slot(stack, slot): _service(stack, release, slot) for slot in slots}
    return json.dumps({"services": made})


def _service(stack: Stack, release: str, slot: str) -> dict[str, Any]:
    alone = on_host_network(stack)
    values = releases.environment(stack, release, slot if alone else None)
    values = {name: value.replace("$", "$$") for name, value in values.items()}
    service: dict[str, Any] = {"environment": values, "restart": "no"}
    if alone:
        named = {"stack": stack.name, "slot": slot, "release": release}
        service["labels"] = {docker.LABELS[key]: value for key, value in named.items()}
    return service


def on_host_network(stack: Stack) -> bool:
    """Tell whether the slots have ports of the host, and perhaps a project with other stacks."""
    return bool(settings(stack).get("host_network"))


def up(stack: Stack, release: str, *names: str, grace: int) -> None:
    """Bring services to what the release's file says; an unchanged running one stays as it is.

    grace: seconds a service that is replaced has to stop.
    """
    words = ["up", "--detach", "--no-deps", "--no-build", "--pull=never", f"--timeout={grace}"]
    compose(stack, release, *words, *names, timeout=UP)


def create(stack: Stack, release: str, name: str, slots: tuple[str, ...] = SLOTS) -> None:
    """Make a service's container as the release's file says, not started."""
    words = ("up", "--no-start", "--no-deps", "--no-build", "--pull=never")
    compose(stack, release, *words, name, timeout=UP, slots=slots)


def hashes(stack: Stack, release: str) -> dict[str, str]:
    """Return {service: config hash} as compose would label the containers of a release."""
    out = compose(stack, release, "config", "--hash=*").out
    return dict(line.split(None, 1) for line in out.splitlines() if len(line.split()) == 2)


def policy(name: str, found: list[Container]) -> None:
    """Give containers a restart policy, where they have another one."""
    ids = [item.id for item in found if item.policy != name]
    if ids:
        docker.docker("update", f"--restart={name}", *ids)


def reload(stack: Stack, found: dict[str, Container]) -> bool:
    """Make services in front read names again; one that cannot is restarted. True if any ran."""
    any_ran = False
    for name, argv in (settings(stack).get("reload") or {}).items():
        if name not in found or found[name].state != "running":
            continue
        any_ran = True
        if not docker.docker("exec", found[name].id, *map(str, argv), check=False).ok:
            say(f"{found[name].name}: could not be reloaded; restarting it")
            docker.docker("restart", "--time=3", found[name].id, check=False)
    return any_ran


def doors(stack: Stack) -> list[str]:
    """List the services that resolve names once, when they start or are told to reload."""
    return [str(name) for name in settings(stack).get("reload") or {}]


def pin_name(stack: Stack, found: dict[str, Container], host: str | None) -> None:
    """Let the server's name mean one address inside the services that resolve it once.

    While two servers carry the name, docker's DNS gives both. host None: docker decides again; it
    also forgets the line when the container starts anew.
    """
    name = str(settings(stack).get("slot_service") or "server")
    for door in doors(stack):
        if door not in found or found[door].state != "running":
            continue
        answer = docker.docker("inspect", "--format={{.HostsPath}}", found[door].id, check=False)
        path = Path(answer.out.strip())
        if not answer.ok or not path.is_file():
            continue
        old = path.read_text(encoding="utf-8")
        lines = [line for line in old.splitlines() if not line.endswith(MARK)]
        if host is not None:
            lines.append(f"{host}\t{name} {MARK}")
        text = "".join(f"{line}\n" for line in lines)
        if text != old:
            # In place: the container sees this very file, not its name.
            path.write_text(text, encoding="utf-8")


def remove_stray(stack: Stack, declared: set[str]) -> None:
    """Remove services of the project that are not declared any more (a frontend, say)."""
    stray = [item for name, item in running(stack).items() if name not in declared]
    if stray and declared:
        say(f"removing services the release does not have: {', '.join(s.name for s in stray)}")
        docker.docker("rm", "--force", *(item.id for item in stray), timeout=120)


def answers(place: tuple[str, int]) -> bool:
    """Tell whether something accepts connections there."""
    try:
        with socket.create_connection(place, timeout=1.0):
            return True
    except OSError:
        return False


def log(item: Container | None, lines: int = 5) -> list[str]:
    """Return the last log lines of a service, secrets masked."""
    if item is None:
        return []
    with contextlib.suppress(HostError):
        answer = docker.docker("logs", f"--tail={lines}", item.id, check=False, timeout=15)
        mask = Masker.of(item.env)
        text = answer.out + answer.err
        return [mask(line)[:500] for line in text.splitlines() if line.strip()][-lines:]
    return []


def _command(words: tuple[str, ...]) -> str:
    return next(word for word in words if not word.startswith("-"))


def _reason(done: Result) -> str:
    lines = [line.strip() for line in done.err.splitlines() if line.strip()]
    telling = [line for line in lines if "error" in line.lower() or "invalid" in line.lower()]
    return (telling or lines or [f"exit status {done.code}"])[-1][:400]
