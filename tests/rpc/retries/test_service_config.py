"""Service configs: what is read, which entry holds for a method, and every mistake by name."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from scripted_server import Request, scripted

from trioraft.rpc import Cardinality, Encoded, GRPCError, Limits, Status, open_channel
from trioraft.rpc.client.config.plans import CallPlans
from trioraft.rpc.client.config.service_config import MethodConfig, parse_service_config
from trioraft.rpc.client.retrying.policy import HedgingPolicy, RetryPolicy

RETRY = {
    "maxAttempts": 4,
    "initialBackoff": "0.1s",
    "maxBackoff": "1s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
EVERYTHING = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{"service": "a.B", "method": "C"}, {"service": "a.B", "method": "D"}],
            "timeout": "1.5s",
            "waitForReady": True,
            "maxRequestMessageBytes": 1000,
            "maxResponseMessageBytes": "2000",
            "retryPolicy": RETRY,
        },
        {
            "name": [{"service": "a.B", "method": None}],
            "timeout": "2s",
            "hedgingPolicy": {
                "maxAttempts": 9,
                "hedgingDelay": ".25s",
                "nonFatalStatusCodes": ["UNAVAILABLE", 13, "aborted"],
            },
        },
        {"name": [{}], "timeout": "30s"},
        {"name": [], "timeout": "40s"},
    ],
    "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1},
    "healthCheckConfig": {"serviceName": "a.B"},
}


def test_everything_is_read() -> None:
    config = parse_service_config(json.dumps(EVERYTHING))
    method = config.method("/a.B/C")
    assert method is not None
    assert (method.timeout, method.wait_for_ready) == (1.5, True)
    assert (method.max_request_bytes, method.max_response_bytes) == (1000, 2000)
    assert method.policy == RetryPolicy(
        max_attempts=4,
        initial_backoff=0.1,
        max_backoff=1.0,
        multiplier=2.0,
        retryable=frozenset({Status.UNAVAILABLE}),
    )
    assert config.method("/a.B/D") is method
    service = config.method("/a.B/Other")
    assert service is not None
    assert service.policy == HedgingPolicy(
        max_attempts=5,
        delay=0.25,
        non_fatal=frozenset({Status.UNAVAILABLE, Status.INTERNAL, Status.ABORTED}),
    )
    assert config.method("/x.Y/Z") == MethodConfig(timeout=30.0)
    assert config.throttling is not None
    assert (config.throttling.max_tokens, config.throttling.token_ratio) == (10_000, 100)
    assert config.load_balancing == [{"round_robin": {}}]
    assert config.health_check_service == "a.B"


def test_the_most_specific_entry_holds_whatever_the_order() -> None:
    entries = EVERYTHING["methodConfig"]
    assert isinstance(entries, list)
    config = parse_service_config({"methodConfig": entries[::-1]})
    assert [config.method(path) for path in ("/a.B/C", "/a.B/X", "/X/Y")] == [
        parse_service_config(EVERYTHING).method(path) for path in ("/a.B/C", "/a.B/X", "/X/Y")
    ]
    assert parse_service_config({}).method("/a.B/C") is None
    assert parse_service_config('{"loadBalancingPolicy": "ROUND_ROBIN"}').load_balancing == [
        {"round_robin": {}}
    ]


def method(**fields: Any) -> dict[str, Any]:
    return {"methodConfig": [{"name": [{"service": "s"}], **fields}]}


def retry(**fields: Any) -> dict[str, Any]:
    merged = {**RETRY, **fields}
    return method(retryPolicy={k: v for k, v in merged.items() if v != "absent"})


def hedging(**fields: Any) -> dict[str, Any]:
    return method(hedgingPolicy={"maxAttempts": 2, **fields})


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("{", "not JSON"),
        ("[]", r"it must be an object, not \[\]"),
        ({"methodConfig": {}}, r"methodConfig must be a list: not \{\}"),
        ({"methodConfig": [3]}, r"methodConfig\[0\] must be an object, not 3"),
        (method(name="s"), r"methodConfig\[0\].name must be a list: not 's'"),
        (method(name=[{"method": "m"}]), r"name\[0\].service must be given, as the method 'm' is"),
        (method(name=[{"service": 3}]), r"name\[0\].service must be a string: not 3"),
        (method(name=[{"service": "s"}, {"service": "s"}]), r"name\[1\] repeats 's/'"),
        (method(timeout=3), r'timeout must be a duration such as "1.5s": not 3'),
        (method(timeout="3"), "duration"),
        (method(timeout="s"), "duration"),
        (method(timeout=".s"), "duration"),
        (method(timeout="1e3s"), "duration"),
        (method(timeout="-1s"), "from 0s"),
        (method(timeout="315576000001s"), "from 0s"),
        (method(timeout="0.1234567890s"), "duration"),
        (method(waitForReady="yes"), "waitForReady must be true or false: not 'yes'"),
        (method(maxRequestMessageBytes=-1), "from 0 to 4294967295: not -1"),
        (method(maxRequestMessageBytes=1.5), "a whole number: not 1.5"),
        (method(maxResponseMessageBytes=2**32), "from 0 to"),
        (method(maxResponseMessageBytes=True), "a whole number: not True"),
        (method(retryPolicy=[]), r"retryPolicy must be an object, not \[\]"),
        (retry(maxAttempts=1), r"methodConfig\[0\].retryPolicy.maxAttempts must be a whole number"),
        (retry(maxAttempts="absent"), "maxAttempts must be a whole number: it is missing"),
        (retry(initialBackoff="0s"), "initialBackoff must be a duration above 0s: not '0s'"),
        (retry(maxBackoff=None), "maxBackoff must be a duration above 0s: it is missing"),
        (retry(backoffMultiplier=0), "backoffMultiplier must be a number above 0: not 0"),
        (retry(backoffMultiplier="2"), "a number above 0"),
        (retry(retryableStatusCodes=[]), "at least one status code"),
        (retry(retryableStatusCodes=["OK"]), "status codes other than OK, not 'OK'"),
        (retry(retryableStatusCodes=["SOSO"]), "not 'SOSO'"),
        (retry(retryableStatusCodes=[99]), "not 99"),
        (retry(retryableStatusCodes=[True]), "not True"),
        (hedging(maxAttempts=0), "hedgingPolicy.maxAttempts"),
        (hedging(hedgingDelay=1), "hedgingDelay"),
        (hedging(nonFatalStatusCodes="UNAVAILABLE"), "a list"),
        (
            method(retryPolicy=RETRY, hedgingPolicy={"maxAttempts": 2}),
            "hedgingPolicy must be absent where there is a retryPolicy",
        ),
        ({"retryThrottling": {"maxTokens": 0, "tokenRatio": 1}}, "maxTokens must be a number"),
        ({"retryThrottling": {"maxTokens": 1001, "tokenRatio": 1}}, "at most 1000: not 1001"),
        ({"retryThrottling": {"maxTokens": 1}}, "tokenRatio must be .*: it is missing"),
        ({"retryThrottling": {"maxTokens": 1, "tokenRatio": 0.0001}}, "at least 0.001"),
        ({"loadBalancingConfig": [{"a": {}, "b": {}}]}, r"loadBalancingConfig\[0\]"),
        ({"loadBalancingPolicy": 3}, "loadBalancingPolicy must be a string: not 3"),
        ({"healthCheckConfig": {"serviceName": 3}}, "healthCheckConfig.serviceName"),
    ],
)
def test_a_mistake_is_named(config: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_service_config(config)
    with pytest.raises(ValueError, match=says):
        open_channel("127.0.0.1:1", service_config=config)


def test_what_is_not_known_is_ignored_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        parse_service_config({**method(retries=3), "somethingNew": {}})
    assert "methodConfig[0].retries is not known" in caplog.text
    assert "somethingNew is not known" in caplog.text


def test_an_unknown_balancing_policy_refuses_the_config() -> None:
    with pytest.raises(ValueError, match="by_moonlight"):
        open_channel("127.0.0.1:1", service_config={"loadBalancingConfig": [{"by_moonlight": {}}]})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(sorted({*EVERYTHING, *RETRY, "name"})), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON)
def test_no_json_does_anything_but_parse_or_raise_value_error(value: Any) -> None:
    for config in (value, {"methodConfig": [value]}, method(retryPolicy=value)):
        with suppress(ValueError):
            parse_service_config(config if isinstance(config, dict) else json.dumps(config))


def test_plans_are_looked_up_once_and_their_number_is_bounded() -> None:
    plans = CallPlans(parse_service_config(EVERYTHING), Limits())
    assert plans.of("/a.B/C") is plans.of("/a.B/C")
    for index in range(3000):
        assert plans.of(f"/many/{index}").timeout == 30.0
    assert len(plans._plans) == 1024


async def test_timeout_size_limits_and_readiness_reach_the_call(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def script(request: Request) -> None:
        await request.ended.wait()
        if request.messages == [b"big"]:
            await request.reply(bytes(101))
        elif request.messages == [b"ok"]:
            await request.reply()

    config = method(
        timeout="3s",
        waitForReady=True,
        maxRequestMessageBytes=50,
        maxResponseMessageBytes=100,
    )

    async def ask(message: bytes, path: str = "/s/M", **options: Any) -> Any:
        kind = Cardinality.UNARY_UNARY
        async with channel.request(path, kind, Encoded, Encoded, **options) as stream:
            assert stream.wait_for_ready is (path == "/s/M" or None)
            await stream.send_message(Encoded(message), end=True)
            return await stream.recv_message()

    async with scripted(script, service_config=config) as (channel, server):
        assert await ask(b"ok") == b"ok"
        assert server.requests[0].headers[b"grpc-timeout"] == b"3000000u"
        with pytest.raises(GRPCError, match="over the sending limit of 50") as caught:
            await ask(bytes(51))
        assert caught.value.status is Status.RESOURCE_EXHAUSTED
        with pytest.raises(GRPCError, match="limit of 100"):
            await ask(b"big")
        assert await ask(b"big", "/other/M") == bytes(101)
        for own, takes in ((None, 3.0), (1.0, 1.0), (5.0, 3.0)):
            began = trio.current_time()
            with pytest.raises(GRPCError) as late:
                await ask(b"silence", timeout=own)
            assert late.value.status is Status.DEADLINE_EXCEEDED
            assert trio.current_time() - began == pytest.approx(takes)
        # Another config takes over for the calls to come; a bad one changes nothing.
        channel.configure({"methodConfig": [{"name": [{}], "timeout": "0.5s"}]})
        with pytest.raises(ValueError, match="timeout"):
            channel.configure({"methodConfig": [{"name": [{}], "timeout": "soon"}]})
        began = trio.current_time()
        with pytest.raises(GRPCError):
            await ask(b"silence", "/other/M")
        assert trio.current_time() - began == pytest.approx(0.5)
