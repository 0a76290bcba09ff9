"""What InfraCore's parts consist of: units, nginx's site, compose files, releases of files."""

from __future__ import annotations

import io
import json
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as bounds
from hypothesis import strategies as st

from operations import (
    archives,
    infracore_bundle,
    infracore_content,
    infracore_edge,
    infracore_service,
)
from operations.entries import Directory, File
from stackpin import secrets
from stackpin.config.infracore import FILES, PARTS, InfracoreBase, InfracoreFiles, InfracoreService
from stackpin.config.infracore_types import SERVICES
from stackpin.config.stacks import STACKS
from stackpin.errors import Refused
from stackpin.host import static
from stackpin.host.envfile import parse_env

TREE = "/opt/infra-core/releases/v1.0.0-0a1b2c3d/site"
SECRET = "j w't $&|/\"\\ {env:HOME} %i"
DIGEST = "sha256:" + "a" * 64


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "artifacts/infracore/infracore-v1.0.0"
    for name in [*(f"bin/{service}" for service in SERVICES), "ui/dist/index.html"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "ui/dist/assets").mkdir()
    (folder / "ui/dist/assets/app.js").write_text("1")
    _sums(folder)
    return tmp_path


def _sums(folder: Path) -> None:
    import hashlib

    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "SHA256SUMS")
    lines = [
        f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(folder)}\n" for p in files
    ]
    (folder / "SHA256SUMS").write_text("".join(lines))


def parts(**data: Any) -> dict[str, Any]:
    flat = {"infracore_version": "v1.0.0"} | {f"infracore_{k}": v for k, v in data.items()}
    return STACKS["infracore"].settings(flat, "h1")


def files(**data: Any) -> InfracoreFiles:
    return parts(**data)[FILES]  # type: ignore[no-any-return]


def service(name: str, **data: Any) -> InfracoreService:
    return parts(**data)[f"infracore-{name}"]  # type: ignore[no-any-return]


def entries(settings: InfracoreFiles, root: Path) -> dict[str, Any]:
    found = infracore_content.entries(settings, secrets.resolver(settings, "h1"), root)
    return {entry.path: entry for entry in [*found, *infracore_content.data(settings)]}


# files


def test_directories_have_the_modes_of_the_contract_and_parents_come_first(root: Path) -> None:
    found = entries(files(), root)
    for index, path in enumerate(found):
        parent = path.rpartition("/")[0]
        assert parent not in found or list(found).index(parent) < index, path
    wanted = {
        "/etc/infra-core": ("0750", "root", "infracore"),
        "/etc/infra-core/tls": ("0700", "root", "root"),
        "/etc/infra-core/certs": ("0700", "infracore", "infracore"),
        "/var/lib/infra-core": ("0750", "infracore", "infracore"),
        "/var/lib/infra-core/snapshots": ("0750", "infracore", "infracore"),
        "/var/log/infra-core": ("0750", "infracore", "infracore"),
        "/opt/infra-core": ("0755", "root", "root"),
    }
    assert {p: (found[p].mode, found[p].user, found[p].group) for p in wanted} == wanted
    assert found[f"/etc/stackpin/{FILES}/stack.json"].mode == "0600"


def test_data_lies_where_the_configuration_says_also_in_a_volume(root: Path) -> None:
    config = {"snap": {"repo_dir": "/var/lib/infra-core/deep/er/snapshots"}}
    paths = [entry.path for entry in infracore_content.data(files(config=config))]
    assert paths[:4] == [
        "/var/lib/infra-core",
        "/var/lib/infra-core/deep",
        "/var/lib/infra-core/deep/er",
        "/var/lib/infra-core/deep/er/snapshots",
    ]
    volume = "/var/lib/docker/volumes/infracore_data/_data"
    found = infracore_content.data(files(config=config, mode="compose"))
    assert all(entry.path.startswith(volume) for entry in found)


def test_a_secret_is_made_here_only_when_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_JWT", SECRET)
    assert infracore_content.generated(files()) == {"INFRA_CORE_JWT_SECRET": 64}
    assert infracore_content.generated(files(jwt_secret="env:TEST_JWT")) == {}


def test_the_release_of_files_is_what_the_services_read(root: Path) -> None:
    settings = files()
    bundle = infracore_bundle.locate(settings, root)
    release, body = infracore_bundle.files_release(settings, bundle, root)
    assert infracore_bundle.files_release(settings, bundle, root) == (release, body)
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        names = tar.getnames()
        source = tar.extractfile("deployment-info.json")
        assert source is not None
        info = json.load(source)
    assert names == [
        "configs/production.yaml",
        "deployment-info.json",
        "ui/dist/assets/app.js",
        "ui/dist/index.html",
    ]
    assert info["version"] == "v1.0.0"
    assert info["services"] == {name: bundle.binaries[name].sha256 for name in SERVICES}
    assert "artifacts" not in json.dumps(info)  # where somebody keeps it is of no interest
    assert infracore_bundle.tree(release) == f"/opt/infra-core/releases/{release.id}/site"


def test_all_parts_read_the_same_tree_and_a_change_of_it_is_theirs_too(root: Path) -> None:
    def releases(**data: Any) -> dict[str, str]:
        found = {}
        for name, settings in parts(**data).items():
            bundle = infracore_bundle.locate(settings, root)
            tree, _ = infracore_bundle.files_release(settings, bundle, root)
            found[name] = tree.id
            if isinstance(settings, InfracoreService):
                made = infracore_service.release(
                    settings,
                    secrets.resolver(settings, "h1"),
                    bundle.binaries[settings.service],
                    {},
                    infracore_bundle.tree(tree),
                    root,
                )
                assert infracore_bundle.tree(tree) in made.unit_text
                found[f"{name} tree"], found[name] = tree.id, made.id
        return found

    first = releases()
    assert len({id_ for name, id_ in first.items() if "tree" in name} | {first[FILES]}) == 1
    other = releases(config={"probe": {"check_interval": "60s"}})
    assert all(first[name] != other[name] for name in first)


@pytest.mark.parametrize("gone", ["bin/probe", "ui/dist/index.html"])
def test_an_artifact_that_is_not_whole_is_refused(root: Path, gone: str) -> None:
    folder = root / "artifacts/infracore/infracore-v1.0.0"
    (folder / gone).unlink()
    _sums(folder)
    with pytest.raises(Refused, match=f"found no {gone}"):
        infracore_bundle.locate(files(), root)


# units


def unit(settings: InfracoreService) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in infracore_service.unit(settings, TREE).splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize("name", SERVICES)
def test_a_unit_is_closed_off_and_depends_on_nobody(name: str) -> None:
    told = unit(service(name))
    assert told["WorkingDirectory"] == [TREE]
    assert told["ExecStart"] == [f"/opt/infra-core/services/{name}/slots/%i/server"]
    assert told["EnvironmentFile"] == [
        "/etc/infra-core/secrets.env",
        f"/opt/infra-core/services/{name}/slots/%i/env",
        f"/etc/stackpin/infracore-{name}/slots/%i.env",
    ]
    assert told["User"] == told["Group"] == ["infracore"]
    assert told["SyslogIdentifier"] == [f"infra-core-{name}-%i"]
    assert told["ProtectSystem"] == ["strict"]
    assert told["NoNewPrivileges"] == told["PrivateUsers"] == ["yes"]
    assert told["CapabilityBoundingSet"] == told["AmbientCapabilities"] == [""]
    assert not {"Requires", "PartOf", "BindsTo", "Requisite"} & set(told)
    data = [] if name == "gate" else ["/var/lib/infra-core"]
    assert told["ReadWritePaths"] == [*data, "/var/log/infra-core"]
    before = [f"infracore-{other}@" for other in SERVICES[: SERVICES.index(name)]]
    assert [value.split("blue")[0] for value in told["After"][1:]] == before
    assert {"StartLimitIntervalSec", "StartLimitBurst"} <= set(told)


def test_only_console_sees_the_interface_where_it_looks_for_it() -> None:
    told = unit(service("console"))
    assert told["BindReadOnlyPaths"] == [f"{TREE}/ui/dist:/app/ui/dist"]
    assert told["TemporaryFileSystem"] == ["/app:ro"]
    others = [unit(service(name)) for name in SERVICES if name != "console"]
    assert not any("TemporaryFileSystem" in one for one in others)


@pytest.mark.parametrize(("port", "capability"), [(80, "CAP_NET_BIND_SERVICE"), (8080, "")])
def test_a_low_port_of_its_own_is_the_one_capability(port: int, capability: str) -> None:
    told = unit(service("gate", overlap={"gate": False}, ports={"gate": port}))
    assert told["AmbientCapabilities"] == told["CapabilityBoundingSet"] == [capability]
    # In a user namespace of its own it would not be a capability of the host's network.
    assert ("PrivateUsers" in told) is (not capability)


def test_gate_may_write_certificates_only_when_it_asks_for_them() -> None:
    acme = {"gate": {"acme": {"email": "ops@example.org"}}}
    assert "/etc/infra-core/certs" in unit(service("gate", config=acme))["ReadWritePaths"]
    assert "/etc/infra-core/certs" not in unit(service("snap", config=acme))["ReadWritePaths"]


def test_what_measures_the_host_sees_it_in_proc() -> None:
    assert [name for name in SERVICES if "ProcSubset" not in unit(service(name))] == [
        "probe",
        "orchestrator",
    ]


@bounds(deadline=None)
@given(
    value=st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=8).filter(
        lambda text: text == text.strip()
    )
)
def test_odd_secrets_reach_the_environment_whole_and_nothing_else(value: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(secrets._LOOKUP, "env", lambda _name: value)
        secrets.forget()
        console = service("console", jwt_secret="env:ODD", secret_env={"MAIL": "env:ODD"})
        artifact = infracore_bundle.Artifact(Path("x"), "console", "v1.0.0", "0" * 64, 1)
        release = infracore_service.release(
            console, secrets.resolver(console, "h1"), artifact, {}, TREE, Path("/")
        )
        secrets.forget()
    read = parse_env(release.env_text)
    assert (read["INFRA_CORE_JWT_SECRET"], read["MAIL"]) == (value, value)
    assert read["STACKPIN_RELEASE"] == release.id
    if len(value) > 12:
        assert value not in release.unit_text
        assert value not in repr(release)


# nginx and the firewall


def site(**data: Any) -> str:
    (file,), (link,) = infracore_edge.site(files(**data), None)
    assert link.target == file.path
    return file.content


def servers(text: str) -> list[str]:
    return text.split("\nserver {")[1:]


def test_nginx_is_in_front_of_what_overlaps_and_of_nothing_else() -> None:
    text = site()
    listening = re.findall(r"listen (\S+)", text)
    assert listening == [
        *(f"127.0.0.1:{port}" for port in (8086, 8085, 8082)),
        *("80", "[::]:80", "443", "[::]:443"),
    ]
    assert "orchestrator" not in text
    assert infracore_edge.ports(files()) == [80, 443, 8082, 8085, 8086]
    exposed = re.findall(r"listen (\S+)", site(expose=["console"], tls=None))
    assert exposed[2:] == ["8082", "[::]:8082", "80", "[::]:80"]


def test_each_slot_backs_the_other_and_the_live_one_is_asked_per_request() -> None:
    text = site()
    blue = text[text.index("upstream infracore_console_blue") :].split("}")[0]
    assert re.findall("server (.*);", blue) == [
        "127.0.0.1:18282 max_fails=0",
        "127.0.0.1:18283 max_fails=0 backup",
    ]
    for server in servers(text):
        (name,) = set(re.findall(r"proxy_pass http://infracore_(\w+)_\$infracore_slot", server))
        live = f"/var/lib/stackpin/infracore-{name}/live.green"
        assert f"if (-f {live}) {{ set $infracore_slot green; }}" in server
        for part in (f"infracore-{name}", FILES):
            assert f"if (-f /var/lib/stackpin/{part}/maintenance)" in server
        # Else gate would not pass its own checks while the page is on, as a restore has it.
        assert ("if ($remote_addr = 127.0.0.1)" in server) is (name != "gate")
        assert "proxy_set_header Connection $infracore_connection;" in server
        assert "proxy_next_upstream" not in server
        # Who is not public hands on what gate's nginx said of the client.
        assert ("X-Forwarded-For" in server) is (name == "gate")


def test_gate_without_overlap_still_has_nginx_end_tls() -> None:
    (server,) = [one for one in servers(site(overlap={"gate": False})) if "_gate_" in one]
    assert re.findall(r"listen (\S+)", server) == ["443", "[::]:443"]
    upstream = site(overlap={"gate": False}).split("upstream infracore_gate_blue {")[1]
    assert re.findall("server (.*);", upstream.split("}")[0]) == ["127.0.0.1:80 max_fails=0"]
    nothing = dict.fromkeys(SERVICES, False)
    assert not servers(site(overlap=nothing, tls=None))


def test_a_certificate_of_ones_own_is_a_reason_to_reload() -> None:
    (file,), _ = infracore_edge.site(files(), File(infracore_edge.CERTIFICATE, "x"))
    assert f"sha256 {File('x', 'x').sha256}" in file.content


def closed(**data: Any) -> set[int]:
    found = re.search(r"elements = \{ ([\d, ]+) \}", infracore_edge.rules(files(**data)))
    assert found is not None
    return {int(port) for port in found[1].split(", ")}


def test_slots_and_metrics_are_this_hosts_alone() -> None:
    assert {18180, 18181, 18182, 19180, 19181, 18282, 18285, 18288, 9090} <= closed()
    assert not closed() & {80, 443, 8082, 8085, 8086}
    direct = closed(overlap={"gate": False})
    assert 1080 in direct and 80 not in direct
    assert 8085 in closed(overlap={"probe": False})
    assert 8085 not in closed(overlap={"probe": False}, expose=["probe"])


# compose


def compose(name: str, **data: Any) -> dict[str, Any]:
    settings = service(name, mode="compose", **data)
    images = {one: f"reg:5000/infracore/infracore-{one}:v1.0.0@{DIGEST}" for one in SERVICES}
    release = infracore_service.release(
        settings, secrets.resolver(settings, "h1"), None, images, TREE, Path("/")
    )
    assert release.images == {name: images[name]}
    assert release.artifact_name == "compose.yml"
    document = "\n".join(line for line in release.unit_text.splitlines() if line[0] != "#")
    return json.loads(document)  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", SERVICES)
def test_containers_run_by_digest_on_the_hosts_network_with_nothing_to_spare(name: str) -> None:
    found = compose(name)
    assert list(found["services"]) == [f"{name}-blue", f"{name}-green", f"{name}-rehearsal"]
    for slot, one in zip(("blue", "green", "rehearsal"), found["services"].values(), strict=True):
        assert one["image"].endswith(f"@{DIGEST}")
        assert (one["network_mode"], one["restart"], one["profiles"]) == ("host", "no", [slot])
        assert (one["read_only"], one["cap_drop"]) == (True, ["ALL"])
        assert one["security_opt"] == ["no-new-privileges:true"]
        assert one["user"] == "${STACKPIN_USER:?}"
        assert "cap_add" not in one and "ports" not in one
        assert one["environment"] == service(name).slot_env(slot)
        assert one["labels"]["stackpin.stack"] == f"infracore-{name}"
        assert one["labels"]["stackpin.slot"] == slot
        targets = {mount["target"]: mount for mount in one["volumes"]}
        assert targets["/app/configs"]["read_only"] is True
        assert targets["/app/configs"]["source"] == f"{TREE}/configs"
        assert ("/app/ui/dist" in targets) is (name == "console")
        live = slot != "rehearsal" and name != "gate"
        assert ("/var/lib/infra-core" in targets) is live
        copies = f"/var/lib/infra-core-rehearsal/{name}/rehearsal"
        assert (copies in targets) is (slot == "rehearsal")
        assert not any("docker.sock" in json.dumps(mount) for mount in one["volumes"])
        assert not any("watchtower" in label for label in one["labels"])
    assert found["volumes"] == {"data": {"name": "infracore_data", "external": True}}


def test_a_low_port_in_a_container_is_roots_and_root_has_nothing_else() -> None:
    blue = compose("gate", overlap={"gate": False})["services"]["gate-blue"]
    assert (blue["user"], blue["cap_drop"]) == ("0:0", ["ALL"])
    assert blue["cap_add"] == ["NET_BIND_SERVICE"]


# services


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_its_places_and_no_secret_in_its_files(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_JWT", SECRET)
    secrets.forget()
    settings = service(name, jwt_secret="env:TEST_JWT")
    found = infracore_service.entries(settings, secrets.resolver(settings, "h1"))
    secrets.forget()
    paths = {entry.path: entry for entry in found}
    assert Directory(f"/opt/infra-core/services/{name}/releases") in found
    assert paths[f"/etc/stackpin/infracore-{name}/slots/green.env"].mode == "0600"
    copies = paths[f"/var/lib/infra-core-rehearsal/{name}"]
    assert (copies.mode, copies.user, copies.group) == ("0710", "root", "infracore")
    assert not any(SECRET in e.content for e in found if isinstance(e, File))


# archives


NAMES = st.lists(
    st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=120),
    min_size=1,
    max_size=3,
).map("/".join)


@bounds(deadline=None)
@given(st.dictionaries(NAMES, st.binary(max_size=50), max_size=5))
def test_an_archive_unpacks_to_what_went_in(tmp_path_factory: Any, files: dict[str, bytes]) -> None:
    files = {n: b for n, b in files.items() if not any(o.startswith(f"{n}/") for o in files)}
    folder = tmp_path_factory.mktemp("archive")
    body = archives.tar(files)
    assert body == archives.tar(dict(reversed(files.items())))
    (folder / "a.tar").write_bytes(body)
    static.unpack(folder / "a.tar", folder / "site")
    assert set(static.tree(folder / "site")) == set(files)
    assert all((folder / "site" / name).read_bytes() == data for name, data in files.items())


def test_a_link_out_of_a_folder_is_not_published(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "key").write_text("secret")
    (tmp_path / "pages/index.html").write_text("")
    (tmp_path / "pages/also.html").symlink_to("index.html")
    assert set(archives.folder("x", tmp_path / "pages")) == {"index.html", "also.html"}
    (tmp_path / "pages/key").symlink_to(tmp_path / "key")
    with pytest.raises(Refused, match="link out of the folder"):
        archives.folder("portal_assets", tmp_path / "pages")


def test_parts_are_those_of_the_registry() -> None:
    assert STACKS["infracore"].parts == (FILES, *PARTS.values())
    assert all(isinstance(one, InfracoreBase) for one in parts().values())
