"""What users type: lists of peers, addresses, and help."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from trioraft.cli import main
from trioraft.cli.peers import parse_address, parse_peers, parse_priorities


def test_peers() -> None:
    assert parse_peers("n1=127.0.0.1:7101", "n1") == {"n1": "127.0.0.1:7101"}
    assert parse_peers(" a=h:1 , b=[::1]:2,", "b") == {"a": "h:1", "b": "[::1]:2"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the list is empty"),
        ("n1", "'n1' is not ID=HOST:PORT"),
        ("n1=", "'' is not HOST:PORT"),
        ("=h:1", "'=h:1' is not ID=HOST:PORT"),
        ("n1=h", "'h' is not HOST:PORT"),
        ("n1=h:x", "'h:x' is not HOST:PORT"),
        ("n1=h:70000", "'h:70000' is not HOST:PORT"),
        ("n1=h:1,n1=h:2", "'n1' appears twice"),
        ("n1=h:1,n2=h:1", "two nodes have the address h:1"),
        ("n2=h:1", "'n1' is not in --peers, which names n2"),
    ],
)
def test_malformed_peers_name_the_entry(text: str, message: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        parse_peers(text, "n1")
    assert message in caught.value.message


def test_priorities() -> None:
    peers = {"n1": "h:1", "n2": "h:2"}
    assert parse_priorities(" n2=7, n1 = 0,", peers) == {"n2": 7, "n1": 0}
    assert parse_priorities("", peers) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n1", "'n1' is not ID=N"),
        ("n1=", "'n1=' is not ID=N"),
        ("n1=-1", "'n1=-1' is not ID=N"),
        ("n1=2147483648", "N from 0 to 2147483647"),
        ("n3=1", "'n3' is not in --peers, which names n1, n2"),
        ("n1=1,n1=2", "'n1' appears twice"),
    ],
)
def test_malformed_priorities_name_the_entry(text: str, message: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        parse_priorities(text, {"n1": "h:1", "n2": "h:2"})
    assert message in caught.value.message


def test_a_node_that_joins_gets_its_priority_when_it_is_added() -> None:
    where = ["--id", "n4", "--listen", "127.0.0.1:7104", "--data", "n4", "--join"]
    result = CliRunner().invoke(main, ["node", *where, "--priorities", "n4=1"])
    assert result.exit_code == 2
    assert "trioraft admin add ID=HOST:PORT --priority N" in result.output


def test_an_address_names_its_option() -> None:
    assert parse_address("localhost:0", "--listen") == "localhost:0"
    with pytest.raises(click.UsageError, match="--listen: 'localhost' is not HOST:PORT"):
        parse_address("localhost", "--listen")


@pytest.mark.parametrize(
    "arguments",
    [[], ["node"], ["status"], ["kv"], ["kv", "get"], ["kv", "put"], ["kv", "del"], ["demo"]],
    ids=" ".join,
)
def test_every_command_explains_itself(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, [*arguments, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output
    for line in result.output.splitlines():
        option = line.strip()
        # An option whose help is missing stands alone on its line, without a next line for it.
        assert not (option.startswith("--") and option.endswith("  "))


def test_endpoints_can_come_from_the_environment() -> None:
    runner = CliRunner(env={"TRIORAFT_ENDPOINTS": "from-the-environment"})
    for arguments in (["status"], ["kv", "get", "a"], ["kv", "put", "a", "b"], ["kv", "del", "a"]):
        result = runner.invoke(main, arguments)
        assert result.exit_code == 1
        assert "'from-the-environment' is not host:port" in result.output


def test_usage_errors_have_status_2() -> None:
    result = CliRunner().invoke(
        main, ["node", "--id", "n9", "--listen", "h:1", "--peers", "n1=h:1", "--data", "d"]
    )
    assert result.exit_code == 2
    assert "'n9' is not in --peers" in result.output
