# SPDX-License-Identifier: Apache-2.0
"""A source of data cuts a service off: its simulator drops the connections and takes no new ones.

What is asked of the simulator (``k2_load.control_url``): ``POST /refuse`` with ``exchange`` and ``seconds``, where 0
ends a refusal, and ``GET /state`` with ``connections`` and ``refusing_until_us`` by exchange.
"""

from __future__ import annotations

import http
import json
from collections.abc import Mapping
from typing import Any, Optional

from ...core.errors import K2Error
from ...platform.runtime.base import Runtime
from ...platform.simulator import SimulatorControl, SimulatorError, decoded
from ...profile.model import FailureMode, Profile, Service
from .base import FaultEndedEarly, FaultNotPossible, FaultPlan, Mechanism, Moment, Proof, Step, bracket, prove
from .unit import Process, UnitFault, reach

# Beyond the time that the cut is to last: the simulator ends it by itself should everybody else be gone.
_BEYOND_S = 60.0


class SourceControl:
    """The control interface of the simulated sources, as far as a cut needs it."""

    def __init__(self, url: str) -> None:
        self._control = SimulatorControl(url)
        self.url = self._control.url

    def refuse(self, exchange: str, seconds: float) -> None:
        """Drop what is connected and refuse others for ``seconds``; 0 ends it.

        :raises SimulatorError: it could not be told.
        """
        self._ask("POST", "/refuse", {"exchange": exchange, "seconds": seconds})

    def state(self, exchange: str) -> Mapping[str, Any]:
        """What it says of one exchange.

        :raises SimulatorError: nothing that can be used.
        """
        answer = self._ask("GET", "/state").get(exchange)
        if not isinstance(answer, dict) or not {"connections", "refusing_until_us"} <= answer.keys():
            raise SimulatorError(
                "the simulator of the sources does not tell whether it refuses",
                expected=f"connections and refusing_until_us of {exchange} from {self.url}/state",
                seen=repr(answer)[:120],
                action="give exchange under k2_services the simulator's name for it",
            )
        return answer

    def undo(self, exchange: str) -> Step:
        """The step that ends a refusal."""
        body = json.dumps({"exchange": exchange, "seconds": 0})
        return {"op": "http", "method": "POST", "url": f"{self.url}/refuse", "body": body, "ok": [200]}

    def _ask(self, method: str, path: str, body: Optional[Mapping[str, Any]] = None) -> dict[str, Any]:
        status, text = self._control.ask(method, path, body)
        if status != http.HTTPStatus.OK:
            raise SimulatorError(
                f"the simulator of the sources refused {method} {path}",
                expected="status 200",
                seen=f"status {status}: {text.decode('utf-8', 'replace')}"[:200],
            )
        return decoded(text)


class SourceCut(UnitFault):
    """A service is cut off its exchange."""

    def __init__(self, profile: Profile, mode: FailureMode, service: Service, runtime: Runtime) -> None:
        super().__init__(profile, mode, service, runtime)
        url = profile.load.control_url if profile.load is not None else None
        if url is None or service.exchange is None:
            raise FaultNotPossible(
                f"{service.name} cannot be cut off its source",
                expected="a simulator under k2_load.control_url, and the exchange of the service",
                seen=f"control_url {url}, exchange {service.exchange}",
            )
        self._control = SourceControl(url)
        self._exchange = service.exchange
        self._connections = 0
        self.plan = FaultPlan(
            action=f"the simulator drops the connections of {service.exchange} and refuses new ones"
            f" for {mode.duration_s:g} s",
            target=service.name,
            blast_radius=f"every client of exchange {service.exchange}: {reach(profile, service)}",
            undo="tell the simulator to take connections again; it does so by itself a minute after that time",
            needs_root=False,
            expected_mechanism=Mechanism.HEALED_ITSELF,
        )

    def _check(self, process: Process) -> None:  # noqa: ARG002
        state = self._control.state(self._exchange)
        self._connections = int(state["connections"])
        if state["refusing_until_us"] is not None or not self._connections:
            raise FaultNotPossible(
                f"{self.service.name} is cut off its exchange already",
                expected=f"the simulator to serve {self._exchange}",
                seen=f"{self._connections} connections, refusing until {state['refusing_until_us']}",
                action=f"POST {json.dumps({'exchange': self._exchange, 'seconds': 0})} to {self._control.url}/refuse,"
                " and see that its handler connects",
            )

    def undo_steps(self) -> tuple[Step, ...]:
        """See ``Fault``."""
        return (self._control.undo(self._exchange), *super().undo_steps())

    def inject(self) -> Moment:
        """See ``Fault``."""
        return bracket(lambda: self._control.refuse(self._exchange, self.mode.duration_s + _BEYOND_S))

    def proof(self, timeout_s: float) -> Proof:
        """See ``Fault``."""
        return prove(self._refusing, timeout_s)

    def _refusing(self) -> Proof:
        state = self._control.state(self._exchange)
        refuses, connections = state["refusing_until_us"] is not None, int(state["connections"])
        said = "refuses connections" if refuses else "takes connections"
        return Proof(refuses and connections == 0, f"{self._exchange} {said} and has {connections}")

    def heal(self) -> Optional[Moment]:
        """See ``Fault``."""
        unread: Optional[K2Error] = None
        try:
            held = self._control.state(self._exchange)["refusing_until_us"] is not None
        except K2Error as error:
            held, unread = False, error
        moment = bracket(lambda: self._control.refuse(self._exchange, 0))
        if not held:
            raise FaultEndedEarly(
                f"{self._exchange} took connections before the cut was over",
                expected="the simulator to refuse until it is told to end",
                seen=str(unread) if unread else "it takes connections",
                action="see whether the simulator was restarted; begin again",
            )
        return moment

    def _differences(self) -> tuple[str, ...]:
        state = self._control.state(self._exchange)
        seen = []
        if state["refusing_until_us"] is not None:
            seen.append(f"{self._exchange} refuses connections still")
        if int(state["connections"]) < self._connections:
            seen.append(f"{self._exchange} has {state['connections']} connections, had {self._connections}")
        return tuple(seen)
