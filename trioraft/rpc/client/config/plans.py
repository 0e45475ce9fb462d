"""From a service config to calls: what a channel asks it for each call, and the calls share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

from trioraft.rpc.client.calls.stream import ClientStream
from trioraft.rpc.client.retrying.hedging import HedgedStream
from trioraft.rpc.client.retrying.policy import HedgingPolicy, RetryPolicy
from trioraft.rpc.client.retrying.replay import Account
from trioraft.rpc.client.retrying.retry import RetriedStream
from trioraft.rpc.client.retrying.throttle import Throttle
from trioraft.rpc.limits import Limits
from trioraft.rpc.status import GRPCError, Status
from trioraft.rpc.timeout import Deadline

from .service_config import MethodConfig, ServiceConfig

__all__ = ["CallPlan", "CallPlans"]

S = TypeVar("S")
R = TypeVar("R")

# Paths beyond these, which only a proxy has so many of, are looked up for every call.
_MAX_CACHED = 1024
_NOTHING = MethodConfig()


class CountedStream(ClientStream[S, R]):
    """A call without a policy on a channel whose calls are throttled: its success counts."""

    def follow(self, plan: CallPlan) -> None:
        super().follow(plan)
        self._throttle = plan.shared.throttle

    def _settle(self, outcome: GRPCError | Status) -> None:
        if self._throttle is not None and outcome is Status.OK:
            self._throttle.succeeded()
        super()._settle(outcome)


@dataclass(frozen=True, slots=True)
class CallPlan:
    """How the calls of one method are made.

    Attributes:
        kind: Class of the calls.
        limits: The channel's, or lower.
        timeout: Seconds a call may take at most, or None.
        wait_for_ready: What calls do that do not say themselves; None is as the channel does.
        policy: Of calls that are made again.
        shared: What all calls of the channel share.
    """

    kind: type[ClientStream[Any, Any]]
    limits: Limits
    timeout: float | None
    wait_for_ready: bool | None
    policy: RetryPolicy | HedgingPolicy | None
    shared: CallPlans

    def deadline(self, given: Deadline | None) -> Deadline | None:
        """The call's deadline: the earlier one of what it was given and what the config says."""
        if self.timeout is None:
            return given
        own = Deadline.from_timeout(self.timeout)
        return own if given is None or own.at < given.at else given


class CallPlans:
    """A channel's service config at work."""

    def __init__(
        self,
        config: ServiceConfig,
        limits: Limits,
        previous: CallPlans | None = None,
        *,
        policies: bool = True,
    ) -> None:
        """What the channel needs of `config`.

        Args:
            previous: What it had until now; its tokens stay if their setting does.
            policies: Whether retry and hedging policies are followed.
        """
        self.config = config
        self._policies = policies
        self._limits = limits
        self._plans: dict[str, CallPlan] = {}
        self.account: Account = (
            Account(limits.max_replay_channel) if previous is None else previous.account
        )
        self.throttle: Throttle | None = None
        if previous is not None and previous.config.throttling == config.throttling:
            self.throttle = previous.throttle
        elif config.throttling is not None:
            self.throttle = Throttle(config.throttling)

    def of(self, path: str) -> CallPlan:
        """How calls of `/package.Service/Method` are made."""
        plan = self._plans.get(path)
        if plan is None:
            plan = self._make(self.config.method(path) or _NOTHING)
            if len(self._plans) < _MAX_CACHED:
                self._plans[path] = plan
        return plan

    def _make(self, method: MethodConfig) -> CallPlan:
        limits = self._limits
        most_sent, most_received = limits.max_send_message, limits.max_receive_message
        if method.max_request_bytes is not None:
            most_sent = min(most_sent, method.max_request_bytes)
        if method.max_response_bytes is not None:
            most_received = min(most_received, method.max_response_bytes)
        if (most_sent, most_received) != (limits.max_send_message, limits.max_receive_message):
            limits = replace(limits, max_send_message=most_sent, max_receive_message=most_received)
        policy = method.policy if self._policies else None
        kind: type[ClientStream[Any, Any]] = ClientStream
        if isinstance(policy, RetryPolicy):
            kind = RetriedStream
        elif isinstance(policy, HedgingPolicy):
            kind = HedgedStream
        elif self.throttle is not None:
            kind = CountedStream
        return CallPlan(kind, limits, method.timeout, method.wait_for_ready, policy, self)
