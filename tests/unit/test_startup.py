"""What starts often loads little: commands here, and the host program there."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from facts.stacks import PROGRAM, StackState
from stackpin.engine.bundle import host_program, unpacked

QUESTION = '{"calls": [{"command": "state", "stack": "crm", "payload": {}}]}'


def loaded(code: str) -> set[str]:
    """Run `code` in a Python of its own and return the modules it has loaded then."""
    code += "\nimport sys; print(*[n for n in sys.modules if hasattr(sys.modules[n], '__file__')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_engine_needs_no_settings_and_no_invoke() -> None:
    names = loaded(
        "from stackpin.cli.startup import prepare_imports; prepare_imports()\n"
        "import stackpin.engine.plan, stackpin.engine.apply"
    )
    assert "stackpin.engine.session" in names
    assert "paramiko.config" in names
    assert not {"pydantic", "invoke", "yaml", "rich"} & names


def test_invoke_is_there_when_it_is_used(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text('Match exec "test %h = web1"\n  User operator\n')
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from stackpin.cli.startup import prepare_imports; prepare_imports()\n"
            "from paramiko import SSHConfig\n"
            f"config = SSHConfig.from_path({str(config)!r})\n"
            "print(config.lookup('web1').get('user'), config.lookup('web2').get('user'))",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["operator", "None"]


def test_a_question_to_the_host_program_loads_little(tmp_path: Path) -> None:
    with zipfile.ZipFile(_placed(tmp_path)) as archive:
        archive.extractall(tmp_path / "there")
    argv = ["-IS", "-X", "importtime", str(tmp_path / "there"), "many", "crm"]
    done = subprocess.run(
        [sys.executable, *argv],
        input=QUESTION,
        env={"STACKPIN_ROOT": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert '"installed": false' in done.stdout
    names = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "stackpin.host.releases" in names
    assert not {"dataclasses", "inspect", "logging", "ctypes", "ssl"} & names


def _placed(folder: Path) -> Path:
    path = folder / "host.pyz"
    path.write_bytes(host_program()[0])
    return path


@pytest.mark.parametrize("same", [True, False])
def test_the_state_is_asked_of_the_installed_program(tmp_path: Path, same: bool) -> None:
    # Programs that tell which they are stand in for the host's two places.
    there = Path(unpacked(host_program()[1]))
    text = StackState().command(stack="crm")
    for name, place in (("unpacked", there), ("installed", Path(PROGRAM))):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        text = text.replace(str(place), str(tmp_path / name))
    (tmp_path / "unpacked").mkdir()
    (tmp_path / "unpacked/__main__.py").write_text("print('unpacked')")
    with zipfile.ZipFile(tmp_path / "installed", "w") as archive:
        archive.writestr("__main__.py", "print('installed')")
    body = (tmp_path / "installed").read_bytes()
    (tmp_path / "unpacked/zip").write_bytes(body if same else body + b"another")
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["unpacked" if same else "installed"]
    (tmp_path / "installed").unlink()
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout == ""
