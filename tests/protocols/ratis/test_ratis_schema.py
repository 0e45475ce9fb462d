"""The generated code is what the schema says, and the schema what the wire needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from trioraft._proto.ratis import grpc_pb2
from trioraft._proto.ratis import raft_pb2 as pb

ROOT = Path(__file__).parents[3]


def test_generated_code_is_up_to_date() -> None:
    pytest.importorskip("grpc_tools", reason="grpcio-tools generates the code to compare with")
    command = [sys.executable, "tools/make_proto.py", "--check", "openraft", "ratis"]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_services_are_complete() -> None:
    methods = {
        service.name: [method.name for method in service.methods]
        for service in grpc_pb2.DESCRIPTOR.services_by_name.values()
    }
    assert methods == {
        "RaftClientProtocolService": ["ordered", "unordered"],
        "RaftServerProtocolService": [
            "requestVote",
            "startLeaderElection",
            "appendEntries",
            "installSnapshot",
            "readIndex",
        ],
        "AdminProtocolService": [
            "setConfiguration",
            "transferLeadership",
            "groupManagement",
            "snapshotManagement",
            "leaderElectionManagement",
            "groupList",
            "groupInfo",
        ],
    }
    assert grpc_pb2.DESCRIPTOR.package == "ratis.grpc"
    assert pb.DESCRIPTOR.package == "ratis.common"


def test_a_signed_index_is_the_varint_that_java_writes_for_an_unsigned_one() -> None:
    """Ratis declares uint64; only the values from 0 to 2^63-1, and -1, occur."""
    for index in (-1, 0, 1, 2**63 - 1):
        unsigned = pb.TermIndexProto(term=index % 2**64).SerializeToString()
        signed = pb.TermIndexProto(index=index).SerializeToString()
        assert signed[1:] == unsigned[1:]
