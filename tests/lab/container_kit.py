"""A node for the container tests: tiny images in a registry of its own, and the host program."""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
from typing import Any

from stackpin.engine.bundle import host_program
from stackpin.lab import Lab, LabHost
from stackpin.lab.ssh import ssh_command

PROGRAM = "/usr/local/lib/stackpin/host.pyz"
STACK = "xingrin-worker"
NAME = "xingrin-agent"
SECRET = "se cret$&\"'"
REPOSITORY = "localhost:5000/lab/agent"
GATE = {"settle": 0.2, "min_healthy": 2.0, "interval": 0.4, "consecutive": 2, "timeout": 20.0}
BEAT = "trap 'exit 0' TERM; while :; do echo beat $WORKER_ID; sleep 0.5; done"
BODIES = {
    "v1.1.0": BEAT,
    "v1.2.0": BEAT + " # two",
    "v1.4.0": "echo no agent here $TOKEN >&2; sleep 1.2; exit 3",
}

# Images from scratch: one shell of this host with its libraries.
BUILD = r"""
set -e
cat > /etc/registry.yml <<END
version: 0.1
storage: {filesystem: {rootdirectory: /var/lib/images}}
http: {addr: 127.0.0.1:5000}
END
rm -rf /root/base && mkdir -p /root/base && cd /root/base
for program in /bin/sh /bin/sleep; do
  mkdir -p bin && cp -L $program bin/
  for lib in $(ldd $program | grep -o '/[^ ]*'); do
    mkdir -p .$(dirname $lib); cp -L $lib .$lib
  done
done
"""
REGISTRY = (
    "systemctl is-active -q images || "
    "systemd-run -q --unit=images docker-registry serve /etc/registry.yml"
)
# Kills the host program just before its docker command number N that changes something.
KILLER = r"""#!/bin/sh
case "$1" in ps|inspect|container|image|info|logs) ;; *)
  if [ -f /run/die ]; then
    n=$(($(cat /run/die) - 1)); echo $n > /run/die
    if [ $n -le 0 ]; then rm /run/die; echo "$*" > /run/died; kill -9 $PPID; exit 137; fi
  fi
esac
exec /usr/bin/docker "$@"
"""


class FailedError(Exception):
    """The host program said no."""

    def __init__(self, code: int, error: dict[str, Any]) -> None:
        super().__init__(f"exit {code}: {error['kind']}: {error['message']}")
        self.code, self.error = code, error


class Node:
    """A host with the worker's stack put on it by hand."""

    def __init__(self, lab: Lab, host: LabHost) -> None:
        self.lab, self.host = lab, host
        self.ssh = ssh_command(lab.paths, host)
        self.digests: dict[str, str] = {}

    def sh(self, script: str, data: bytes = b"", timeout: float = 120) -> str:
        done = subprocess.run(
            [*self.ssh, script], input=data, capture_output=True, timeout=timeout, check=False
        )
        assert done.returncode == 0, f"{script}\n{done.stderr.decode()}"
        return done.stdout.decode().strip()

    def call(self, command: str, stack: str = STACK, **payload: Any) -> dict[str, Any]:
        done = subprocess.run(
            [*self.ssh, f"python3 {PROGRAM} {command} {stack}"],
            input=json.dumps(payload).encode(),
            capture_output=True,
            timeout=180,
            check=False,
        )
        try:
            answer = json.loads(done.stdout)
        except ValueError:
            told = done.stderr.decode()[-800:]
            raise AssertionError(f"{command}: no answer ({done.returncode}); {told}") from None
        if not answer["ok"]:
            raise FailedError(done.returncode, answer["error"])
        return dict(answer)

    def install(self, **more: Any) -> None:
        content, _ = host_program()
        self.sh(f"mkdir -p {PROGRAM.rpartition('/')[0]} && cat > {PROGRAM}", content)
        self.sh("cat > /usr/local/sbin/docker && chmod 755 /usr/local/sbin/docker", KILLER.encode())
        self.configure(**more)
        self.worker_id(7)
        self.sh(BUILD)
        self.serve_images()
        for version in BODIES:
            self.publish(version)

    def serve_images(self) -> None:
        """Start the registry; it does not come back by itself when the host restarts."""
        self.sh(
            f"{REGISTRY}; for i in 1 2 3 4 5 6 7 8 9; do "
            "curl -sf localhost:5000/v2/ && break; sleep 0.5; done"
        )

    def configure(self, **more: Any) -> None:
        document = {
            "stack": STACK, "kind": "container", "user": "root", "opt": f"/opt/{STACK}",
            "data": f"/var/lib/{STACK}", "container": {"name": NAME}, "gate": GATE,
            "env_files": [f"/etc/stackpin/{STACK}/node.env"], "guard_seconds": 20,
            "start_timeout": 20, "heartbeat_seconds": 1.0, "drain_seconds": 0,
            "checks": [{"kind": "container", "name": "agent", "where": "slot"}], **more,
        }  # fmt: skip
        path = f"/etc/stackpin/{STACK}/stack.json"
        self.sh(
            f"umask 077; mkdir -p /etc/stackpin/{STACK}; cat > {path}",
            json.dumps(document).encode(),
        )

    def worker_id(self, number: int) -> None:
        self.sh(
            f"umask 077; cat > /etc/stackpin/{STACK}/node.env", f'WORKER_ID="{number}"\n'.encode()
        )

    def publish(self, version: str, body: str | None = None) -> str:
        """Make and push an image; return repo:tag@digest. The local copy goes."""
        command = json.dumps(["/bin/sh", "-c", body or BODIES[version]])
        ref = f"{REPOSITORY}:{version}"
        change = shlex.quote(f"CMD {command}")
        told = self.sh(
            f"cd /root/base && tar -c . | docker import -c {change} - {ref}"
            f" >/dev/null && docker push -q {ref} >/dev/null && "
            f"docker image inspect -f '{{{{index .RepoDigests 0}}}}' {ref} && "
            f"docker image rm {ref} >/dev/null"
        )
        self.digests[version] = told.splitlines()[0].partition("@")[2]
        return f"{ref}@{self.digests[version]}"

    def receive(self, version: str) -> str:
        ref = f"{REPOSITORY}:{version}@{self.digests[version]}"
        text = json.dumps({
            "name": NAME, "image": ref, "restart": "always", "network": None,
            "volumes": ["/proc:/host/proc:ro"], "ports": [], "command": [], "pull": "missing",
        })  # fmt: skip
        release = f"{version}-{self.digests[version][7:15]}"
        about = {
            "id": release, "version": version, "images": {"agent": ref},
            "artifact_sha256": hashlib.sha256(text.encode()).hexdigest(),
        }  # fmt: skip
        escaped = SECRET.replace('"', '\\"').replace("$", "\\$")
        env = f'IMAGE_TAG="{version}"\nTOKEN="{escaped}"\n'
        self.call("receive", release=about, env=env, unit=text)
        return release

    def rollout(self, version: str, **more: Any) -> dict[str, Any]:
        return self.call("rollout", release=self.receive(version), who="test", **more)

    def containers(self) -> dict[str, tuple[str, str, str]]:
        """Return {name: (state, restart policy, tag)} of every container on the host."""
        text = self.sh(
            "for c in $(/usr/bin/docker ps -aq); do /usr/bin/docker inspect -f "
            "'{{.Name}} {{.State.Status}} {{.HostConfig.RestartPolicy.Name}} {{.Config.Image}}' $c;"
            "done"
        )
        rows = [line.split() for line in text.splitlines()]
        return {
            row[0][1:]: (row[1], row[2], row[3].split("@")[0].rpartition(":")[2]) for row in rows
        }

    def only(self, version: str) -> bool:
        """Whether this version's container, under the declared name, is all there is."""
        return self.containers() == {NAME: ("running", "always", version)}
