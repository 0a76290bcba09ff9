"""Whether a host is as declared, asked by none of the tools: a program of its own, on the host."""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
from dataclasses import asdict

from stackpin.lab import Lab, LabHost
from stackpin.lab.ssh import ssh_command
from tests.bench.peers.state import STATE, File, rendered

__all__ = ["check"]

# Runs on the host with its own Python. Reads what is wanted as JSON, prints what is not so.
PROGRAM = r"""
import grp, hashlib, json, os, pwd, stat, subprocess, sys, urllib.request
wanted, wrong = json.load(sys.stdin), []

def run(*argv):
    return subprocess.run(argv, capture_output=True, text=True).stdout.strip()

def expect(what, found, declared):
    if found != declared:
        wrong.append(f"{what}: found {found!r}, declared {declared!r}")

def lstat(path):
    try:
        s = os.lstat(path)
    except OSError as error:
        return None, str(error)
    owner = f"{pwd.getpwuid(s.st_uid).pw_name}:{grp.getgrgid(s.st_gid).gr_name}"
    return s, f"{stat.S_IFMT(s.st_mode):o} {stat.S_IMODE(s.st_mode):04o} {owner}"

for one in wanted["directories"]:
    declared = f"{stat.S_IFDIR:o} {one['mode']} {one['user']}:{one['group']}"
    expect(one["path"], lstat(one["path"])[1], declared)
for one in wanted["files"]:
    s, found = lstat(one["path"])
    expect(one["path"], found, f"{stat.S_IFREG:o} {one['mode']} {one['user']}:{one['group']}")
    if s is not None:
        digest = hashlib.sha256(open(one["path"], "rb").read()).hexdigest()
        expect(one["path"] + " content", digest, one["sha256"])
for one in wanted["links"]:
    expect(one["path"], os.path.islink(one["path"]) and os.readlink(one["path"]), one["target"])
for unit in wanted["units"]:
    shown = run("systemctl", "show", unit, "-p", "ActiveState,UnitFileState,User,NeedDaemonReload")
    declared = ["ActiveState=active", "NeedDaemonReload=no", "UnitFileState=enabled",
                "User=" + wanted["user"]]
    expect(unit, sorted(shown.splitlines()), declared)
for package in wanted["packages"]:
    expect(package, run("dpkg-query", "-W", "-f", "${db:Status-Status}", package), "installed")
try:
    account = pwd.getpwnam(wanted["user"])
    expect("account", [account.pw_dir, account.pw_shell, account.pw_uid < 1000,
                       grp.getgrgid(account.pw_gid).gr_name],
           [wanted["home"], wanted["shell"], True, wanted["user"]])
except KeyError:
    wrong.append("account: there is none")
key, value = wanted["sysctl"]
expect(key, open("/proc/sys/" + key.replace(".", "/")).read().strip(), value)
try:
    page = urllib.request.urlopen("http://127.0.0.1:8064/stock.html", timeout=5).read()
    expect("the site's page", hashlib.sha256(page).hexdigest(), wanted["page"])
except OSError as error:
    wrong.append(f"the site's page: {error}")
print(json.dumps(wrong))
"""


def check(lab: Lab, host: LabHost, edition: int, binary_sha256: str) -> None:
    """Raise RuntimeError with every difference between the host and the declared state."""
    small = (*STATE.templates, *STATE.files, *STATE.units, STATE.site, STATE.sysctl_file)
    binary = File(STATE.binary, "", "", "0755")
    page = next(file for file in STATE.files if file.source == "stock.html")
    wanted = {
        **asdict(STATE),
        "files": [
            *(asdict(one) | {"sha256": _sha256(rendered(one, edition))} for one in small),
            asdict(binary) | {"sha256": binary_sha256},
        ],
        "links": [asdict(link) for link in (*STATE.links, STATE.site_link)],
        "units": [unit.source for unit in STATE.units],
        "page": _sha256(page.text),
    }
    argv = [*ssh_command(lab.paths, host), f"python3 -c {shlex.quote(PROGRAM)}"]
    done = subprocess.run(
        argv, input=json.dumps(wanted), capture_output=True, text=True, check=True, timeout=60
    )
    wrong: list[str] = json.loads(done.stdout)
    if wrong:
        raise RuntimeError(f"{host.name} is not as declared:\n" + "\n".join(wrong))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
