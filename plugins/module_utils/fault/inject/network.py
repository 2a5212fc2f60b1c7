# SPDX-License-Identifier: Apache-2.0
"""Faults on the network of a service: cut off everybody, or cut off what lies outside the platform."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Optional

from ...core.clock import monotonic_ns
from ...core.errors import K2Error
from ...platform.runtime.base import Attachment, Runtime, RuntimeFailure
from ...profile.model import FailureMode, Profile, Service
from .base import FaultEndedEarly, FaultNotPossible, FaultPlan, Mechanism, Moment, Proof, Step, bracket, prove
from .packet_filter import Filter, Rule, new_mark
from .routes import way_out
from .unit import Process, UnitFault, reach

_LOOPBACK = {"127.0.0.1": "iptables", "::1": "ip6tables"}
# A connection on the same machine takes a fraction of a millisecond; two seconds see a first repetition of the SYN too.
_CONNECT_S = 2.0
# Networks that are no networks: a container on them has nothing to be cut off.
_NO_NETWORK = ("host", "none")


class Disconnect(UnitFault):
    """A container is taken off its networks."""

    def __init__(self, profile: Profile, mode: FailureMode, service: Service, runtime: Runtime) -> None:
        super().__init__(profile, mode, service, runtime)
        self.plan = FaultPlan(
            action=f"disconnect {service.unit} from all its networks for {mode.duration_s:g} s",
            target=service.name,
            blast_radius=reach(profile, service),
            undo="connect it to the same networks, with its addresses and aliases",
            needs_root=False,
            expected_mechanism=Mechanism.HEALED_ITSELF,
        )

    def _check(self, process: Process) -> None:  # noqa: ARG002
        _require_own_network(self.service, self.before.attachments)

    def undo_steps(self) -> tuple[Step, ...]:
        """See ``Fault``."""
        back = tuple(step for each in self.before.attachments for step in self.steps.reconnect(self.unit, each))
        return (*back, *super().undo_steps())

    def inject(self) -> Moment:
        """See ``Fault``."""
        return bracket(lambda: [self.runtime.disconnect(self.unit, each) for each in self.before.attachments])

    def proof(self, timeout_s: float) -> Proof:
        """See ``Fault``. The endpoints say it: commands and health checks inside go on to succeed."""
        return prove(self._cut_off, timeout_s)

    def _cut_off(self) -> Proof:
        left = [each.network for each in self._still_connected()]
        return Proof(not left, f"{self.unit} is on {', '.join(left) or 'no network'}")

    def _still_connected(self) -> list[Attachment]:
        names = {each.network for each in self.before.attachments}
        return [each for each in self.runtime.attachments(self.unit) if each.network in names]

    def heal(self) -> Optional[Moment]:
        """See ``Fault``."""
        found = self._still_connected()
        moment = bracket(lambda: [self.runtime.reconnect(self.unit, each) for each in self.before.attachments])
        if found:
            raise _ended_early(f"{self.service.name} on no network", found[0].network)
        return moment


class _Cut(UnitFault):
    """Rules that drop packets, in force until healed."""

    _rules: tuple[Rule, ...] = ()

    def undo_steps(self) -> tuple[Step, ...]:
        """See ``Fault``."""
        return (*(rule.undo() for rule in self._rules), *super().undo_steps())

    def inject(self) -> Moment:
        """See ``Fault``."""
        low_ns = monotonic_ns()
        try:
            for rule in self._rules:
                rule.insert()
        except FaultNotPossible as error:
            # A rule that is in force while the next is refused would be half a fault.
            for rule in self._rules:
                rule.delete()
            raise RuntimeFailure(
                f"{self.service.name} could not be cut off",
                expected=error.expected,
                seen=error.seen,
                action=error.action,
            ) from error
        return Moment(low_ns, monotonic_ns())

    def heal(self) -> Optional[Moment]:
        """See ``Fault``."""
        found: list[bool] = []
        moment = bracket(lambda: found.extend(rule.delete() for rule in self._rules))
        if not all(found):
            raise _ended_early("the rules in force", "some of them gone")
        return moment

    def _differences(self) -> tuple[str, ...]:
        return tuple(f"packets are dropped still: {' '.join(rule.match)}" for rule in self._rules if rule.present)


class PortCut(_Cut):
    """A process that shares the host's network: what goes to its port and comes from it on the loopback is dropped."""

    def __init__(self, profile: Profile, mode: FailureMode, service: Service, runtime: Runtime) -> None:
        super().__init__(profile, mode, service, runtime)
        self._addresses: tuple[str, ...] = ()
        self.plan = FaultPlan(
            action=f"drop packets to and from port {service.port} on the loopback for {mode.duration_s:g} s",
            target=service.name,
            blast_radius=f"{reach(profile, service)}. Connections that it makes itself stay",
            undo="remove the rules of the packet filter, which carry a mark of their own",
            needs_root=True,
            expected_mechanism=Mechanism.HEALED_ITSELF,
        )

    def _check(self, process: Process) -> None:  # noqa: ARG002
        port = self.service.port
        if port is None:
            raise FaultNotPossible(
                f"{self.service.name} has no port to be cut off at",
                expected="port under k2_services",
                seen="none",
                action="state the port that its clients use",
            )
        self._addresses = tuple(address for address in _LOOPBACK if _connect(address, port) is None)
        if not self._addresses:
            raise FaultNotPossible(
                f"{self.service.name} cannot be reached, so a cut could not be told from before",
                expected=f"a connection to port {port} on the loopback",
                seen=str(_connect(next(iter(_LOOPBACK)), port)),
                action="correct port under k2_services, or see why it does not listen",
            )
        mark = new_mark()
        self._rules = tuple(
            Rule(found, ("-p", "tcp", "-i", "lo", end, str(port)), mark)
            for found in [Filter.find(_LOOPBACK[address]) for address in self._addresses]
            for end in ("--dport", "--sport")
        )

    def proof(self, timeout_s: float) -> Proof:
        """See ``Fault``. A peer finds silence; a refusal would be another fault."""
        return prove(self._silent, timeout_s)

    def _silent(self) -> Proof:
        port = self.service.port
        assert port is not None
        for address in self._addresses:
            try:
                answer = _connect(address, port)
            except TimeoutError:
                continue
            return Proof(False, f"a connection to {address}:{port} is {answer or 'accepted'}")
        return Proof(True, f"a connection to {', '.join(self._addresses)} port {port} gets no answer")

    def _differences(self) -> tuple[str, ...]:
        return (*super()._differences(), *self._unreachable())

    def _unreachable(self) -> tuple[str, ...]:
        port = self.service.port
        assert port is not None
        seen = []
        for address in self._addresses:
            try:
                answer = _connect(address, port)
            except TimeoutError:
                answer = "not answered"
            if answer is not None:
                seen.append(f"a connection to {address}:{port} is {answer}, was accepted")
        return tuple(seen)


class OutsideCut(_Cut):
    """A container keeps its own network, and hears nothing from beyond it.

    To disconnect it would cut it off the broker too. The rules are in the container's own network namespace.
    """

    def __init__(self, profile: Profile, mode: FailureMode, service: Service, runtime: Runtime) -> None:
        super().__init__(profile, mode, service, runtime)
        self.plan = FaultPlan(
            action=f"drop what comes to {service.unit} from outside its own network for {mode.duration_s:g} s",
            target=service.name,
            blast_radius=f"{reach(profile, service)}. Others on its network reach it, and it them",
            undo="remove the rules of the packet filter in its network namespace, which carry a mark of their own",
            needs_root=True,
            expected_mechanism=Mechanism.HEALED_ITSELF,
        )

    def _check(self, process: Process) -> None:
        # On the host's network the rule would cut off the host, and who is logged in on it.
        _require_own_network(self.service, self.before.attachments)
        found = Filter.find(inside=process)
        out = way_out(process.pid)
        self._rules = (Rule(found, ("-i", out.interface, "!", "-s", out.own_network), new_mark()),)

    def proof(self, timeout_s: float) -> Proof:
        """See ``Fault``: something from outside was dropped."""
        return prove(self._counted, timeout_s)

    def _counted(self) -> Proof:
        dropped = sum(rule.dropped for rule in self._rules)
        return Proof(dropped > 0, f"{dropped} packets from outside were dropped")


def _require_own_network(service: Service, attachments: Sequence[Attachment]) -> None:
    """Refuse a container that shares the network of the host or of another container, or has none.

    :raises FaultNotPossible: what it is on instead.
    """
    networks = [each.network for each in attachments]
    if not networks or any(name in _NO_NETWORK for name in networks):
        raise FaultNotPossible(
            f"{service.name} cannot be cut off its network",
            expected="a container with a network of its own",
            seen="networks: " + (", ".join(networks) or "none"),
            action="give it a network in its compose file, or take another action",
        )


def _connect(address: str, port: int) -> Optional[str]:
    """None when the connection is accepted, else why not.

    :raises TimeoutError: there was no answer at all.
    """
    try:
        with socket.create_connection((address, port), timeout=_CONNECT_S):
            return None
    except socket.timeout as error:  # a class of its own before Python 3.10
        raise TimeoutError from error
    except ConnectionRefusedError:
        return "refused"
    except OSError as error:
        return f"{type(error).__name__}: {error}"


def _ended_early(expected: str, seen: str) -> K2Error:
    return FaultEndedEarly(
        "the cut was over before it was ended",
        expected=expected,
        seen=seen,
        action="nothing is left of the fault; find who acted (a watchdog, a person), and begin again",
    )
