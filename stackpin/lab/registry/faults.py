"""Break the lab's registry in the ways real ones break, and repair it.

Each fault holds until `heal`. They change the registry's host, never the machine.
"""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from stackpin.lab.registry import relay
from stackpin.lab.registry.lab_registry import HOST, LabRegistry
from stackpin.lab.registry.service import FOLDER, PORT, RESTART, SERVICE
from stackpin.lab.registry.tls import authority, signed

if TYPE_CHECKING:
    from stackpin.lab.hosts import Lab

__all__ = ["down", "heal", "refuse_login", "slow", "wrong_certificate"]

BEHIND = PORT + 1
RELAY = "stackpin-lab-relay"


def down(lab: "Lab") -> None:
    """Stop the registry: connections are refused."""
    _end_relay(lab)
    lab.run(HOST, ["systemctl", "stop", SERVICE])


def wrong_certificate(lab: "Lab") -> None:
    """Serve a certificate by an authority that nobody trusts, for the right address."""
    host = lab.host(HOST)
    pair = signed(authority("somebody else"), host.address, host.name)
    folder = lab.registry.root / FOLDER
    # In place: the files keep the owner that the registry's user needs.
    (folder / "server.pem").write_bytes(pair.certificate)
    (folder / "server.key").write_bytes(pair.key)
    lab.run(HOST, RESTART)


def refuse_login(lab: "Lab") -> None:
    """Let nobody in: every login is answered with 401."""
    folder = lab.registry.root / FOLDER
    (folder / "htpasswd").write_text("nobody:*\n")
    lab.run(HOST, RESTART)


def slow(lab: "Lab", seconds: float) -> None:
    """Hold back each piece of an answer (64 kB at most) for `seconds`."""
    registry = lab.registry
    registry.serve(registry.certificate(), BEHIND)
    _end_relay(lab)
    program = registry.root / "usr/local/lib/stackpin-lab-relay.py"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_bytes(Path(relay.__file__).read_bytes())
    arguments = ["python3", f"/usr/local/lib/{program.name}", str(PORT), str(BEHIND), str(seconds)]
    start = ["systemd-run", "--quiet", "--collect", f"--unit={RELAY}", *arguments]
    lab.run(HOST, f"{shlex.join(start)}; {_until_listening(PORT)}")


def heal(lab: "Lab") -> None:
    """Undo every fault; the images stay."""
    _end_relay(lab)
    registry: LabRegistry = lab.registry
    registry.start()


def _end_relay(lab: "Lab") -> None:
    lab.run(HOST, f"systemctl stop {RELAY}.service 2>/dev/null || true")


def _until_listening(port: int) -> str:
    return f"for i in $(seq 50); do ss -Hltn sport = :{port} | grep -q . && exit 0; sleep 0.1; done"
