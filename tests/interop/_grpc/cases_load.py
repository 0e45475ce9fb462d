"""The cases about ORCA load reports: with one call, and beside all calls."""

from __future__ import annotations

from trioraft.rpc.orca import LoadReport, load_of, watch_load

from ._gen.grpc_testing_pb2 import (
    ResponseParameters,
    SimpleRequest,
    StreamingOutputCallRequest,
    TestOrcaReport,
)
from .case import Tester, case, expect

PER_CALL = LoadReport(
    cpu=0.8210, memory=0.5847, request_cost={"cost": 3456.32}, utilization={"util": 0.30499}
)
BESIDE = (
    LoadReport(cpu=0.8210, memory=0.5847, utilization={"util": 0.30499}),
    LoadReport(cpu=0.29309, memory=0.2, utilization={"util": 0.2039}),
)
INTERVAL = 1.0
REPORTS = 10


def asked(report: LoadReport) -> TestOrcaReport:
    """A report in the suite's own words."""
    return TestOrcaReport(
        cpu_utilization=report.cpu,
        memory_utilization=report.memory,
        request_cost=report.request_cost,
        utilization=report.utilization,
    )


@case
async def orca_per_rpc(tester: Tester) -> None:
    request = SimpleRequest(orca_per_query_report=asked(PER_CALL))
    async with tester.stub.UnaryCall.open(metadata=tester.metadata) as stream:
        await stream.send_message(request, end=True)
        await stream.recv_message()
    report = load_of(stream.trailing_metadata)
    expect(report == PER_CALL, f"came: {report}")


@case
async def orca_oob(tester: Tester) -> None:
    async with tester.stub.FullDuplexCall.open(metadata=tester.metadata) as stream:
        for report in BESIDE:
            request = StreamingOutputCallRequest(
                orca_oob_report=asked(report), response_parameters=[ResponseParameters(size=1)]
            )
            await stream.send_message(request)
            expect(await stream.recv_message() is not None, "no reply")
            await await_report(tester, report)
        await stream.end()


async def await_report(tester: Tester, wanted: LoadReport) -> None:
    """The stream of reports comes to say what the server was told."""
    came = []
    async with watch_load(tester.channel, interval=INTERVAL) as loads:
        async for report in loads:
            if report == wanted:
                return
            came.append(report)
            expect(len(came) < REPORTS, f"only {came[-1]} came")
    expect(False, "the server ended its reports")
