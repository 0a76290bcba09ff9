"""What is wrong with a fleet as a whole."""

import pytest
from xingrin_kit import server, worker

from stackpin.config.xingrin_fleet import Member, problems


def head(address="10.0.0.10", **more):
    return Member(("xingrin",), {"xingrin-server": server(**more)}, address)


def node(address, **more):
    return Member(("workers",), {"xingrin-worker": worker(**more)}, address)


def found(**hosts):
    return [(p.variable, p.host) for p in problems(hosts)]


def test_a_sound_fleet_has_no_problems():
    assert found(server=head(), n1=node("10.0.0.21"), n2=node("10.0.0.22")) == []
    assert found(n1=node("10.0.0.21")) == []
    assert found(server=head(public_host="server")) == []
    assert found(other=Member(("crm",), {}, "10.0.0.9")) == []


@pytest.mark.parametrize("name", ["server", "localhost", "127.0.0.1", "127.8.8.8", "::1", "::"])
def test_a_public_host_nodes_cannot_use(name):
    hosts = {"server": head(public_host=name), "n1": node("10.0.0.21", public_host=name)}
    assert [(p.variable, p.host) for p in problems(hosts)] == [
        ("xingrin_public_host", "server"),
        ("xingrin_public_host", "n1"),
    ]


def test_a_node_on_the_servers_host():
    assert found(server=head(), n1=node("10.0.0.10")) == [("group workers", "n1")]
    both = Member(
        ("xingrin", "workers"),
        {"xingrin-server": server(), "xingrin-worker": worker()},
        "10.0.0.10",
    )
    assert found(server=both) == [("group workers", "server")]


@pytest.mark.parametrize(
    ("port", "ssh"), [(22, 22), (2222, 2222), (22, 2222), (5432, 22), (6379, 22)]
)
def test_a_public_port_whose_firewall_would_shut_out_ssh(port, ssh):
    hosts = {"server": Member(("xingrin",), {"xingrin-server": server(public_port=port)}, "a", ssh)}
    assert found(**hosts) == [("xingrin_public_port", "server")]


def test_nodes_that_disagree_with_the_server():
    told = problems({"server": head(), "n1": node("10.0.0.21", version="v1.1.0")})
    assert [(p.variable, p.found) for p in told] == [("xingrin_version", "v1.1.0")]
    assert "v1.2.0, as on the server" in told[0].expected


def test_two_servers_and_nodes_of_one_name():
    assert found(a=head("10.0.0.10"), b=head("10.0.0.11")) == [("group xingrin", "")]
    same = {"a": node("10.0.0.21", node_name="n"), "b": node("10.0.0.22", node_name="n")}
    assert found(**same) == [("xingrin_node_name", "b")]
    assert found(a=node("10.0.0.21"), b=node("10.0.0.21")) == [("xingrin_node_address", "b")]
