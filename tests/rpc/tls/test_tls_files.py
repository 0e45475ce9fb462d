"""Files of certificates: what cannot be used, and what changes while it is in use."""

from __future__ import annotations

import logging
import os
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
import trio
import trio.testing
from _authority import Authority, Signed

from trioraft.rpc import client_tls, server_tls
from trioraft.rpc.server.options import endpoints_of
from trioraft.rpc.tls.handshake import Unsecured, secure_client, secure_server
from trioraft.rpc.tls.reloading import Reloading


async def shown(server: object, client: object) -> str:
    """The serial number of the certificate that a client is shown."""
    ours, theirs = trio.testing.memory_stream_pair()
    found: list[trio.SSLStream[trio.abc.Stream]] = []

    async def accept() -> None:
        found.append(await secure_server(Unsecured(theirs, server)))  # type: ignore[arg-type]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        stream = await secure_client(ours, client, "localhost")  # type: ignore[arg-type]
    serial: str = stream.getpeercert()["serialNumber"]
    for end in (ours, theirs):
        await trio.aclose_forcefully(end)
    return serial


@pytest.fixture
def files(tmp_path: Path, server_cert: Signed) -> Signed:
    """A copy that the test may change."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    shutil.copy(server_cert.cert, cert)
    shutil.copy(server_cert.key, key)
    return Signed(cert, key)


def replace(old: Path, new: Path) -> None:
    """As tools do it: another file takes the name."""
    shutil.copy(new, old.with_suffix(".new"))
    os.replace(old.with_suffix(".new"), old)


async def test_a_new_certificate_is_used_from_the_next_look_on(
    files: Signed, authority: Authority, autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server, client = server_tls(files.cert, files.key), client_tls(ca=authority.cert)
    first = await shown(server, client)
    renewed = authority.sign("renewed")
    replace(files.cert, renewed.cert)
    replace(files.key, renewed.key)
    assert await shown(server, client) == first  # looked a moment ago
    await trio.sleep(10)
    second = await shown(server, client)
    assert second != first
    assert caplog.text.count("TLS files reloaded") == 1
    await trio.sleep(10)
    assert await shown(server, client) == second
    assert caplog.text.count("TLS files reloaded") == 1


async def test_broken_files_leave_the_old_ones_in_use(
    files: Signed, authority: Authority, autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    server, client = server_tls(files.cert, files.key), client_tls(ca=authority.cert)
    first = await shown(server, client)
    renewed = authority.sign("renewed")
    replace(files.cert, renewed.cert)  # and the key is to follow
    for _ in range(3):
        await trio.sleep(10)
        assert await shown(server, client) == first
    assert caplog.text.count("TLS files not reloaded, the old ones stay in use") == 1
    files.key.unlink()
    await trio.sleep(10)
    assert await shown(server, client) == first
    assert caplog.text.count("TLS files not reloaded") == 2
    shutil.copy(renewed.key, files.key)
    await trio.sleep(10)
    assert await shown(server, client) != first


async def test_reload_at_once_or_say_why_not(
    files: Signed, authority: Authority, autojump_clock: object
) -> None:
    server = server_tls(files.cert, files.key, reload_interval=float("inf"))
    client = client_tls(ca=authority.cert)
    first = await shown(server, client)
    renewed = authority.sign("renewed")
    replace(files.cert, renewed.cert)
    with pytest.raises(ssl.SSLError, match=r"(?i)key.values.mismatch"):
        server.reload()
    replace(files.key, renewed.key)
    await trio.sleep(1000)
    assert await shown(server, client) == first
    server.reload()
    assert await shown(server, client) != first


async def test_clients_follow_their_files_too(
    tmp_path: Path, authority: Authority, server_cert: Signed, autojump_clock: object
) -> None:
    trusted = tmp_path / "ca.pem"
    shutil.copy(server_cert.cert, trusted)  # trusts nobody of use
    server, client = server_tls(server_cert.cert, server_cert.key), client_tls(ca=trusted)
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_accept_badly, server, theirs)
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            await secure_client(ours, client, "localhost")
    replace(trusted, authority.cert)
    await trio.sleep(10)
    assert await shown(server, client)


async def _accept_badly(server: object, stream: trio.abc.Stream) -> None:
    with pytest.raises(OSError, match="TLS handshake failed"):
        await secure_server(Unsecured(stream, server))  # type: ignore[arg-type]


def test_files_that_cannot_be_used(tmp_path: Path, server_cert: Signed) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pem"):
        server_tls("nowhere.pem")
    with pytest.raises(ssl.SSLError, match=r"empty\.pem"):
        server_tls(server_cert.cert, empty)
    with pytest.raises(ssl.SSLError, match=r"empty\.pem"):
        server_tls(server_cert.cert, server_cert.key, client_ca=empty)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pem"):
        client_tls(ca="nowhere.pem")
    with pytest.raises(ValueError, match="needs its certificate"):
        client_tls(key=server_cert.key)
    with pytest.raises(ValueError, match="reload_interval"):
        server_tls(server_cert.cert, server_cert.key, reload_interval=-1)


def test_encrypted_keys_need_their_password(tmp_path: Path, server_cert: Signed) -> None:
    secret = tmp_path / "secret.key"
    subprocess.run(
        [
            *("openssl", "pkey", "-in", str(server_cert.key), "-aes256"),
            *("-passout", "pass:sesame", "-out", str(secret)),
        ],
        check=True,
    )
    server_tls(server_cert.cert, secret, password="sesame")
    with pytest.raises(ssl.SSLError):
        server_tls(server_cert.cert, secret, password="wrong")
    with pytest.raises(ValueError, match="encrypted: give its password"):
        server_tls(server_cert.cert, secret)


def test_authorities_in_a_directory(
    tmp_path: Path, authority: Authority, server_cert: Signed
) -> None:
    shutil.copy(authority.cert, tmp_path / "ca.pem")
    tls = server_tls(server_cert.cert, server_cert.key, client_ca=tmp_path)
    assert tls._context.verify_mode is ssl.CERT_REQUIRED


def test_what_contexts_are_like(server_cert: Signed) -> None:
    for context in (server_tls(server_cert.cert, server_cert.key)._context, client_tls()._context):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert context.options & ssl.OP_NO_COMPRESSION
        assert context.options & ssl.OP_NO_RENEGOTIATION
        old = [one for one in context.get_ciphers() if one["protocol"] != "TLSv1.3"]
        assert all(one["kea"] == "kx-ecdhe" and one["aead"] for one in old), old
    client = client_tls()._context
    assert client.check_hostname
    assert client.verify_mode is ssl.CERT_REQUIRED


def test_a_context_is_made_once_per_change(tmp_path: Path) -> None:
    file, built = tmp_path / "file", 0
    file.write_text("1")

    def build() -> ssl.SSLContext:
        nonlocal built
        built += 1
        return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    async def main() -> None:
        reloading = Reloading([file], build, 0)
        for _ in range(5):
            assert reloading.context
        assert built == 1
        file.write_text("22")
        first, second = reloading.context, reloading.context
        assert first is second
        assert built == 2

    trio.run(main)


def test_server_options_take_it(server_cert: Signed) -> None:
    tls = server_tls(server_cert.cert, server_cert.key)
    [endpoint] = endpoints_of({"port": 1, "ssl_context": tls})
    assert endpoint.tls is tls
