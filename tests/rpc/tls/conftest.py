"""Fixtures: an authority, and what it has signed."""

from __future__ import annotations

import shutil

import pytest
from _authority import Authority, Signed


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl program to make certificates")
    return Authority(openssl, tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def server_cert(authority: Authority) -> Signed:
    return authority.sign("server")


@pytest.fixture(scope="session")
def client_cert(authority: Authority) -> Signed:
    return authority.sign("alice", "URI:spiffe://test/alice,email:alice@example.org")
