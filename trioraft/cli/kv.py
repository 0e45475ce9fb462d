"""`trioraft kv`: read and write keys of a cluster through its etcd API."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import click
import trio

from trioraft._proto.etcd.kv_pb2 import KeyValue
from trioraft.client import EtcdClient, RetryPolicy, open_etcd
from trioraft.client.etcd import PAGE, prefix_range

from .errors import explained
from .options import endpoints_option

__all__ = ["kv"]


@click.group()
def kv() -> None:
    """Read and write the cluster's keys."""


def _run(endpoints: str, timeout: float, body: Callable[[EtcdClient], Awaitable[None]]) -> None:
    """Run `body` with a client of the cluster; errors become messages."""

    async def main() -> None:
        async with open_etcd(endpoints, policy=RetryPolicy(timeout=timeout)) as client:
            await body(client)

    with explained():
        trio.run(main)


timeout_option = click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to try.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@kv.command()
@click.argument("key")
@click.option("--prefix", is_flag=True, help="All keys that start with KEY.")
@click.option("--limit", type=click.IntRange(min=0), default=0, help="At most so many; 0: all.")
@click.option("--revision", type=click.IntRange(min=0), default=0, help="As of this revision.")
@click.option("--stale", is_flag=True, help="Whatever one node has, without asking the others.")
@json_option
@timeout_option
@endpoints_option
def get(
    key: str,
    prefix: bool,
    limit: int,
    revision: int,
    stale: bool,
    as_json: bool,
    timeout: float,
    endpoints: str,
) -> None:
    """Print the value of KEY, or with --prefix a line "key <tab> value" per key.

    A key that does not exist is an error (exit status 1), no key with a prefix is not. With
    --json, bytes that are not UTF-8 appear as {"base64": "..."}.
    """

    async def body(client: EtcdClient) -> None:
        if prefix:
            await _list(client, key.encode(), limit, revision, stale, as_json)
            return
        reply = await client.get(key.encode(), revision=revision, serializable=stale)
        if as_json:
            click.echo(_json(reply.header.revision, list(reply.kvs)))
        elif not reply.kvs:
            raise click.ClickException(f"no key {key!r}. `kv get --prefix` lists what there is.")
        else:
            _write(reply.kvs[0].value + b"\n")

    _run(endpoints, timeout, body)


async def _list(
    client: EtcdClient, prefix: bytes, limit: int, revision: int, stale: bool, as_json: bool
) -> None:
    """Print all keys with a prefix, page by page; as JSON all at once."""
    start, end = prefix_range(prefix)
    head = await client.get(
        start, range_end=end, revision=revision, serializable=stale, count_only=True
    )
    at = revision or head.header.revision
    left = min(limit or head.count, head.count)
    pairs: list[KeyValue] = []
    pages = client.pages(
        start, range_end=end, page=min(left, PAGE) or 1, revision=at, serializable=stale
    )
    async with aclosing(pages):
        async for page in pages:
            taken = page[:left]
            left -= len(taken)
            if as_json:
                pairs += taken
            else:
                _write(b"".join(pair.key + b"\t" + pair.value + b"\n" for pair in taken))
            if not left:
                break
    if as_json:
        click.echo(_json(head.header.revision, pairs, head.count))


@kv.command()
@click.argument("key")
@click.argument("value", required=False)
@json_option
@timeout_option
@endpoints_option
def put(key: str, value: str | None, as_json: bool, timeout: float, endpoints: str) -> None:
    """Write KEY; without VALUE, the bytes of standard input.

    Returns when the write is on the disks of a majority.
    """
    data = sys.stdin.buffer.read() if value is None else value.encode()

    async def body(client: EtcdClient) -> None:
        reply = await client.put(key.encode(), data)
        click.echo(json.dumps({"revision": reply.header.revision}) if as_json else "OK")

    _run(endpoints, timeout, body)


@kv.command("del")
@click.argument("key")
@click.option("--prefix", is_flag=True, help="All keys that start with KEY.")
@json_option
@timeout_option
@endpoints_option
def delete(key: str, prefix: bool, as_json: bool, timeout: float, endpoints: str) -> None:
    """Delete KEY and print how many keys that were."""

    async def body(client: EtcdClient) -> None:
        start, end = prefix_range(key.encode()) if prefix else (key.encode(), b"")
        reply = await client.delete(start, range_end=end)
        fields = {"revision": reply.header.revision, "deleted": reply.deleted}
        click.echo(json.dumps(fields) if as_json else str(reply.deleted))

    _run(endpoints, timeout, body)


def _write(data: bytes) -> None:
    """Keys and values as they are: they may be any bytes."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _json(revision: int, pairs: list[KeyValue], count: int | None = None) -> str:
    fields = {
        "revision": revision,
        "count": len(pairs) if count is None else count,
        "kvs": [_as_json(pair) for pair in pairs],
    }
    return json.dumps(fields, ensure_ascii=False)


def _as_json(pair: KeyValue) -> dict[str, Any]:
    return {
        "key": _text(pair.key),
        "value": _text(pair.value),
        "create_revision": pair.create_revision,
        "mod_revision": pair.mod_revision,
        "version": pair.version,
    }


def _text(data: bytes) -> str | dict[str, str]:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}
