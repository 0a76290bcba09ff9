"""The reference InfraCore in processes of their own, on free ports of this machine."""

import http.client
import json
import os
import socket
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from stackpin.lab.apps.infracore.app.main import SERVICES

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache/infracore"
"""Keeps the UI between test runs, so that npm does not work in each."""

SECRET = "a secret # with: signs 'and' \"quotes\""
CONFIG = """
gate:
  host: infra.example   # a name
  ports:
    http: {gate}
    https: {https}
  acme:
    email: ""
console:
  host: 127.0.0.1
  port: {console}
  database:
    path: {folder}/console.db
    wal_mode: true
    timeout: 5s
  auth:
    jwt:
      secret: {secret}
      expires_hours: 24
  cors:
    origins: ["*"]
    methods:
    - GET
    - POST
orchestrator:
  port: {orchestrator}
  health_check_interval: 1m30s
probe:
  port: {probe}
snap:
  port: {snap}
  repo_dir: {folder}/repo
  temp_dir: {folder}/temp
"""


def free_ports(count: int) -> list[int]:
    """Ports nobody has now; those a thousand above are free, too."""
    found: list[int] = []
    with ExitStack() as held:
        while len(found) < count:
            one = held.enter_context(socket.create_server(("127.0.0.1", 0)))
            port = one.getsockname()[1]
            try:
                held.enter_context(socket.create_server(("127.0.0.1", port + 1000)))
            except OSError:
                continue
            found.append(port)
    return found


class Site:
    """A working directory with a configuration, and services running in it."""

    def __init__(self, folder: Path, **ports: int) -> None:
        self.folder = folder
        *found, self.https = free_ports(6)
        self.ports = {**dict(zip(SERVICES, found, strict=True)), **ports}
        self.running: list[subprocess.Popen[str]] = []
        secret = json.dumps(SECRET)
        self.write(CONFIG.format(folder=folder, secret=secret, https=self.https, **self.ports))

    def write(self, text: str) -> None:
        (self.folder / "configs").mkdir(exist_ok=True)
        (self.folder / "configs/production.yaml").write_text(text)

    def launch(self, program: Path, *arguments: str, **more: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(program), *arguments],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "INFRA_CORE_ENV": "production", **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.running.append(process)
        return process

    def start(self, program: Path, **more: str) -> subprocess.Popen[str]:
        return started(self.launch(program, **more))

    def end(self) -> None:
        for process in self.running:
            process.kill()
        for process in self.running:
            process.communicate()

    def ask(
        self, where: str | int, path: str, body: object = None, method: str = "", **headers: str
    ) -> tuple[int, Any]:
        """Ask a service (or a port): the status, and what the JSON or text is."""
        port = self.ports[where] if isinstance(where, str) else where
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
            content = None if body is None else json.dumps(body)
            method = method or ("GET" if body is None else "POST")
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
            is_json = answer.headers.get_content_type() == "application/json"
            return answer.status, json.loads(text) if is_json and text else text


def started(process: subprocess.Popen[str]) -> subprocess.Popen[str]:
    """Wait until the service says that it listens."""
    assert process.stdout
    assert process.stderr
    while "listens on" not in (line := process.stdout.readline()):
        assert line, process.stderr.read()
    return process
