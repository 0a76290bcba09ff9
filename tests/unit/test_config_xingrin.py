"""XingRin's variables: images, modes, what is refused, what the host is told."""

import pytest
from pydantic import SecretStr
from xingrin_kit import server, worker

from stackpin.config.problems import ConfigProblems
from stackpin.config.stacks import STACKS, stack
from stackpin.errors import Refused
from stackpin.lockfile import lock_path


def given(ref):
    return SecretStr(f"value-of-{ref.target}")


def test_five_images_carry_one_tag_and_the_registry():
    images = server().images()
    assert {i.rpartition(":")[2] for r, i in images.items() if r not in {"redis", "postgres"}} == {
        "v1.2.0"
    }
    assert images["server"] == "10.0.0.5:5000/yyhuni/xingrin-server:v1.2.0"
    assert server(registry="docker.io").images()["agent"] == "yyhuni/xingrin-agent:v1.2.0"
    assert set(worker().own_images()) == {"agent", "worker"}
    assert worker().images() == images


def test_images_follow_a_copied_version():
    moved = server().model_copy(update={"version": "v1.3.0"})
    assert moved.images()["nginx"].endswith(":v1.3.0")


def test_dev_images_end_in_dev_and_name_the_task_image():
    settings = server(dev=True)
    env = settings.environment(given)
    assert settings.images()["worker"].endswith("/xingrin-worker:v1.2.0-dev")
    assert env["TASK_EXECUTOR_IMAGE"] == settings.images()["worker"]
    assert (env["IMAGE_TAG"], env["DEBUG"]) == ("v1.2.0-dev", "True")
    with pytest.raises(ConfigProblems, match="xingrin_dev False"):
        server(dev=True, stackpin_production=True)


@pytest.mark.parametrize("tag", ["latest", "__WILL_BE_SET_BY_INSTALLER__", "", "1.2.0", "v1.2"])
def test_tags_that_are_no_release_are_refused(tag):
    with pytest.raises(ConfigProblems, match="xingrin_version"):
        server(version=tag)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("registry", "https://registry.example.org"),
        ("registry", "registry:70000"),
        ("namespace", "Upper"),
        ("redis_image", "redis"),
        ("postgres_image", "postgres:latest"),
        ("allow", ["10.0.0.1/24"]),
        ("registry_mirrors", ["https://user@mirror.example.org"]),
        ("db_name", "x;drop"),
        ("backup_repository", "rest:https://user:word@backup.example.org/"),
        ("env", {"DB_PASSWORD": "x"}),
        ("env", {"MY_TOKEN": "x"}),
        ("registry_username", "u"),
        ("db_port", 5433),
        ("db_host", "db.example.org"),
        ("public_port", 0),
    ],
)
def test_wrong_values_are_refused(variable, value):
    with pytest.raises(ConfigProblems, match="xingrin_"):
        server(**{variable: value})


def test_environment_has_the_name_django_reads():
    env = server(secret_key="env:KEY", db_password="env:DB").environment(given)
    assert env["SECRET_KEY"] == env["DJANGO_SECRET_KEY"] == "value-of-KEY"
    assert env["DB_PASSWORD"] == "value-of-DB"
    made = server().environment(given)
    assert not {"SECRET_KEY", "DJANGO_SECRET_KEY", "DB_PASSWORD"} & set(made)
    assert (made["DB_HOST"], made["DB_PORT"], made["REDIS_HOST"]) == ("postgres", "5432", "redis")
    assert made["DOCKER_USER"] == "10.0.0.5:5000/yyhuni"


@pytest.mark.parametrize("name", ["postgres", "localhost", "127.0.0.1"])
def test_local_names_mean_the_container(name):
    settings = server(db_host=name)
    assert settings.local_database
    assert settings.environment(given)["DB_HOST"] == "postgres"
    assert settings.host_stack().postgres.service == "postgres"


def test_remote_database_has_no_postgres_service():
    settings = server(db_host="db.example.org", db_port=6543, db_password="env:DB")
    told = settings.host_stack().as_json()
    assert told["postgres"]["service"] is None
    assert told["compose"]["depend"] == ["redis"]
    login = settings.secret_needs(given)["postgres"]
    assert (login["host"], login["port"], login["password"]) == (
        "db.example.org",
        6543,
        "value-of-DB",
    )
    assert "postgres" in settings.images()


@pytest.mark.parametrize(
    ("frontend", "nodes", "front"),
    [
        (True, True, ["frontend", "agent", "nginx"]),
        (True, False, ["frontend", "agent", "nginx"]),
        (False, True, ["agent", "nginx"]),
        (False, False, ["agent"]),
    ],
)
def test_services_without_the_interface(frontend, nodes, front):
    told = server(frontend=frontend).host_stack(nodes=nodes).as_json()
    assert told["compose"]["front"] == front
    assert bool(told["compose"]["reload"]) == ("nginx" in front)
    through = [c["name"] for c in told["checks"] if c["where"] == "host"]
    assert through == (["api-through-nginx"] if "nginx" in front else [])


def test_what_hosts_are_told():
    told = server(schema_step={"v1.2.0": ["step"], "v1.1.0": ["other"]}).host_stack().as_json()
    assert told["kind"] == "compose"
    assert told["schema"]["step"] == ["step"]
    assert told["env_files"] == ["/etc/stackpin/xingrin-server/secrets.env"]
    node = worker().host_stack().as_json()
    assert (node["kind"], node["overlap"], node["container"]) == (
        "container",
        False,
        {"name": "xingrin-agent"},
    )


def test_server_url_of_an_ipv6_address():
    assert worker(public_host="2001:db8::1").server_url == "https://[2001:db8::1]:8083"


def test_lock_file_is_asked_for(tmp_path):
    with pytest.raises(Refused, match="xingrin_lock_file = "):
        lock_path(server(lock_file=None), tmp_path)
    assert lock_path(server(), tmp_path) == tmp_path / "inventories/x.lock.toml"


def test_parts_apply_by_group():
    xingrin = stack("xingrin")
    data = {"xingrin_version": "v1.2.0"}
    assert list(xingrin.settings(data, "h", groups=["workers", "fleet"])) == ["xingrin-worker"]
    assert list(xingrin.settings(data, "h", groups=["fleet"])) == []
    assert not xingrin.applies_to(["fleet"])
    assert xingrin.applies_to(["xingrin"])
    assert STACKS["crm"].applies_to(["anything"])
    assert (xingrin.on_failure, STACKS["crm"].on_failure) == ("rollback", "halt")
