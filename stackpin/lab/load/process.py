"""Running a load from Python, as the demo, the lab tests and the benchmarks do."""

import os
import signal
import subprocess
import sys
import uuid
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from stackpin.lab.load.plan import LOST_SECONDS, REQUEST_SECONDS, Plan, Result


class Load:
    """A load in a process of its own, so that nothing of the caller (gevent, say) bends it.

    with Load(plan, folder) as load:
        ...  # change the host
    assert load.result().failed == 0
    """

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self._json = folder / f"load-{uuid.uuid4().hex[:8]}.json"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the clients and return once they are running."""
        command = [sys.executable, "-m", "stackpin.lab.load", *_as_arguments(self._plan)]
        root = str(Path(__file__).resolve().parents[3])
        paths = [root, os.environ.get("PYTHONPATH", "")]
        self._process = subprocess.Popen(
            [*command, "--json", str(self._json)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        if self._process.stdout is None or not self._process.stdout.readline():
            raise RuntimeError(f"the load did not start; exit code {self._process.wait()}")

    def stop(self) -> Result:
        """End the load early, cleanly, and return what happened."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self.result()

    def result(self) -> Result:
        """Wait for the end of the load and return what happened."""
        if self._process is None:
            raise RuntimeError("the load was never started")
        try:
            self._process.wait(self._plan.seconds + REQUEST_SECONDS + LOST_SECONDS)
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            if self._process.stdout:
                self._process.stdout.close()
        return Result.read(self._json)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _as_arguments(plan: Plan) -> list[str]:
    arguments = []
    for name, value in asdict(plan).items():
        if value not in (None, ""):
            arguments += [f"--{name.replace('_', '-')}", str(value)]
    return arguments
