"""Finding addresses by DNS, and when a name is looked up again."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import trio
import trio.testing
from fleet import ask, asks, fleet_of, refusal

from trioraft.rpc import (
    Address,
    DnsResolver,
    Limits,
    Status,
    open_channel,
)


class Names(trio.abc.HostnameResolver):
    """DNS as a test has it."""

    def __init__(self, *hosts: str) -> None:
        self.hosts = list(hosts)
        self.asked: list[float] = []
        self._began = trio.current_time()

    async def getaddrinfo(self, host: Any, port: Any, *rest: Any) -> Any:
        self.asked.append(round(trio.current_time() - self._began, 3))
        if not self.hosts:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (found, port)) for found in self.hosts]

    async def getnameinfo(self, address: Any, flags: int) -> Any:
        raise OSError("nobody asks for names")


@pytest.fixture
def names() -> Any:
    async def use(*hosts: str) -> Names:
        found = Names(*hosts)
        trio.socket.set_custom_hostname_resolver(found)
        return found

    return use


async def test_dns_gives_the_addresses(names: Any, autojump_clock: object) -> None:
    await names("10.0.0.1", "10.0.0.2")
    async with (
        fleet_of("10.0.0.1 10.0.0.2") as fleet,
        open_channel("dns:///shop:1", dial_address=fleet.dial, balancing="round_robin") as channel,
    ):
        channel.connect()
        await trio.sleep(1)
        assert sorted(await asks(channel, 2)) == ["10.0.0.1", "10.0.0.2"]


async def test_a_failed_connection_has_the_name_looked_up_again(
    names: Any, autojump_clock: object
) -> None:
    dns = await names("10.0.0.1")
    async with (
        fleet_of("10.0.0.1 10.0.0.2") as fleet,
        open_channel("shop:1", dial_address=fleet.dial) as channel,
    ):
        assert await ask(channel) == "10.0.0.1"
        await trio.sleep(1000)
        assert dns.asked == [0]
        dns.hosts = ["10.0.0.2"]
        await fleet.stop("10.0.0.1")
        await trio.sleep(1)
        assert len(dns.asked) == 2
        assert await ask(channel) == "10.0.0.2"


async def test_but_not_more_often_than_every_half_minute(
    names: Any, autojump_clock: object
) -> None:
    dns = await names("10.0.0.1")
    async with (
        fleet_of("") as fleet,
        open_channel("shop:1", dial_address=fleet.dial) as channel,
    ):
        await refusal(channel)
        await trio.sleep(100)
        assert dns.asked[0] == 0
        assert all(
            later - sooner >= 30 for sooner, later in zip(dns.asked, dns.asked[1:], strict=False)
        )
        assert 3 <= len(dns.asked) <= 4


async def test_the_interval_is_a_limit_of_the_channel(names: Any, autojump_clock: object) -> None:
    dns = await names("10.0.0.1")
    async with (
        fleet_of("") as fleet,
        open_channel(
            "shop:1", dial_address=fleet.dial, limits=Limits(resolve_interval=0)
        ) as channel,
    ):
        await refusal(channel)
        await trio.sleep(5)
        assert len(dns.asked) >= 4


async def test_a_name_without_addresses_is_unavailable_and_tried_on(
    names: Any, autojump_clock: object
) -> None:
    dns = await names()
    async with (
        fleet_of("10.0.0.1") as fleet,
        open_channel("shop:1", dial_address=fleet.dial) as channel,
    ):
        error = await refusal(channel)
        assert error.status is Status.UNAVAILABLE
        assert "not known" in str(error.message)
        await trio.sleep(2)
        assert dns.asked[:2] == [0, 1]  # with the pauses of connections
        dns.hosts = ["10.0.0.1"]
        assert await ask(channel, wait_for_ready=True) == "10.0.0.1"


async def test_failing_later_leaves_the_addresses_that_are_known(
    names: Any, autojump_clock: object
) -> None:
    dns = await names("10.0.0.1")
    async with (
        fleet_of("10.0.0.1") as fleet,
        open_channel("shop:1", dial_address=fleet.dial) as channel,
    ):
        await ask(channel)
        dns.hosts = []
        await fleet.disconnect("10.0.0.1")
        await trio.sleep(60)
        assert len(dns.asked) >= 2
        assert await ask(channel) == "10.0.0.1"


async def test_literal_addresses_ask_nobody(names: Any, autojump_clock: object) -> None:
    dns = await names()
    async with fleet_of("10.0.0.1 fd::1") as fleet:
        for target in ("10.0.0.1:1", "ipv4:10.0.0.1:1", "[fd::1]:1", "dns:///10.0.0.1:1"):
            async with open_channel(target, dial_address=fleet.dial) as channel:
                assert await ask(channel) in ("10.0.0.1", "fd::1")
    assert dns.asked == []


async def test_the_systems_resolver_knows_localhost() -> None:
    resolution = await DnsResolver("localhost", 5).resolve()
    assert Address("127.0.0.1", 5) in resolution.addresses


async def test_zones_of_link_local_addresses_are_kept() -> None:
    class LinkLocal(Names):
        async def getaddrinfo(self, host: Any, port: Any, *rest: Any) -> Any:
            kind = (socket.AF_INET6, socket.SOCK_STREAM, 6, "")
            return [(*kind, ("fe80::1", port, 0, 3)), (*kind, ("fd::1", port, 0, 0))]

    trio.socket.set_custom_hostname_resolver(LinkLocal())
    resolution = await DnsResolver("shop", 5).resolve()
    assert list(resolution.addresses) == [Address("fe80::1%3", 5), Address("fd::1", 5)]
