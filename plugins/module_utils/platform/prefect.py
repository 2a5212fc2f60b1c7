# SPDX-License-Identifier: Apache-2.0
"""A small client of Prefect 3's REST API: a deployment by name, and how its runs ended. Standard library only."""

from __future__ import annotations

import http
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Any, Optional
from urllib.parse import quote

from ..core.clock import microseconds
from ..core.errors import K2Error
from ..core.suggest import did_you_mean
from .http_api import BodyTooLarge, exchange

TIMEOUT_S = 5.0
COMPLETED = "COMPLETED"
# The states in which a run has ended for good.
ENDED = (COMPLETED, "FAILED", "CRASHED", "CANCELLED")
_BODY_LIMIT = 16 * 1024 * 1024
_LISTED = 200


class PrefectError(K2Error):
    """Base of what can go wrong between this client and a server."""


class PrefectUnreachable(PrefectError):  # noqa: N818 - see core.errors
    """No answer, none in time, or the server says that it cannot answer now."""


class PrefectRefused(PrefectError):  # noqa: N818 - see core.errors
    """The server wants credentials."""


class NotPrefect(PrefectError):  # noqa: N818 - see core.errors
    """What answers is not Prefect's API, or not one this client can read."""


class NoSuchDeployment(PrefectError):  # noqa: N818 - see core.errors
    """The server has no deployment of that name."""


@dataclass(frozen=True)
class Deployment:
    """A deployment as the server describes it; ``active_schedules`` counts those that would start runs."""

    id: str
    paused: bool
    active_schedules: int


@dataclass(frozen=True)
class Run:
    """A run that has ended: in which state, and when (microseconds since the epoch)."""

    state: str
    ended_us: int


@dataclass(frozen=True)
class Runs:
    """Runs, the latest ending first, and the server's time when it answered.

    The time is that of the HTTP header Date, which counts whole seconds; None where the server, or a proxy, sends none.
    """

    runs: tuple[Run, ...]
    server_us: Optional[int]


class PrefectClient:
    """Read-only questions to one server. Stateless: a connection per question."""

    def __init__(self, url: str) -> None:
        """:arg url: the address of the API, as in PREFECT_API_URL; it usually ends in ``/api``."""
        self._url = url.rstrip("/")

    def deployment(self, name: str) -> Deployment:
        """The deployment called ``name``, in Prefect's way of writing it: FLOW/DEPLOYMENT.

        :raises NoSuchDeployment: there is none. :raises PrefectError: another kind, by what went wrong.
        """
        flow, slash, own = name.partition("/")
        if not slash or not own:
            raise self._no_such(name, "FLOW/DEPLOYMENT is how Prefect names a deployment")
        status, _, answer = self._ask("GET", f"/deployments/name/{quote(flow, safe='')}/{quote(own, safe='')}")
        if status == http.HTTPStatus.NOT_FOUND:
            raise self._no_such(name, did_you_mean(name, self._names()))
        found = self._mapping(answer)
        try:
            schedules = found["schedules"]
            active = sum(bool(schedule["active"]) for schedule in schedules)
            return Deployment(str(found["id"]), bool(found["paused"]), active)
        except (KeyError, TypeError) as error:
            raise self._unreadable(f"a deployment without {error}") from error

    def latest_runs(self, deployment_id: str, states: Sequence[str], limit: int) -> Runs:
        """The ``limit`` runs of a deployment that were the last to end in one of ``states``.

        :raises PrefectError: one of its kinds, by what went wrong.
        """
        question = {
            "flow_runs": {
                "deployment_id": {"any_": [deployment_id]},
                "state": {"type": {"any_": list(states)}},
                "end_time": {"is_null_": False},
            },
            "sort": "END_TIME_DESC",
            "limit": limit,
        }
        _, date, answer = self._ask("POST", "/flow_runs/filter", question)
        try:
            runs = tuple(Run(str(run["state_type"]), microseconds(run["end_time"])) for run in self._listed(answer))
        except (KeyError, TypeError, ValueError) as error:
            raise self._unreadable(f"a flow run that cannot be read ({type(error).__name__}: {error})") from error
        return Runs(runs, date)

    def _names(self) -> list[str]:
        """The names of the server's deployments, as far as one answer holds them: for a hint only."""
        question = {"limit": _LISTED}
        flows = {
            str(flow.get("id")): flow.get("name")
            for flow in self._listed(self._ask("POST", "/flows/filter", question)[2])
        }
        deployments = self._listed(self._ask("POST", "/deployments/filter", question)[2])
        return [f"{flows.get(str(each.get('flow_id')), '?')}/{each.get('name')}" for each in deployments]

    def _ask(
        self, method: str, path: str, question: Optional[Mapping[str, Any]] = None
    ) -> tuple[int, Optional[int], object]:
        """Status, server time and decoded answer (none with 204); of errors only Prefect's own 404 is an answer."""
        body = None if question is None else json.dumps(question).encode()
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        try:
            response = exchange(
                method, self._url, path, body=body, headers=headers, timeout_s=TIMEOUT_S, limit_bytes=_BODY_LIMIT
            )
        except BodyTooLarge as error:
            raise self._unreadable(str(error)) from error
        except OSError as error:
            raise self._unreachable(f"{type(error).__name__}: {error}") from error
        if response.status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
            raise self._unreachable(f"HTTP {response.status}: {_start(response.body)}")
        if response.status in (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN):
            raise PrefectRefused(
                "Prefect wants credentials",
                expected=f"an API that can be read without at {self._url}",
                seen=f"HTTP {response.status}: {_start(response.body)}",
                action="name an address that needs none, such as one behind a proxy that adds them",
            )
        done = response.status == http.HTTPStatus.NO_CONTENT
        answer = None if done else self._decoded(response.status, response.body)
        return response.status, _header_time(response.headers), answer

    def _decoded(self, status: int, text: bytes) -> object:
        try:
            answer: object = json.loads(text)
        except ValueError as error:
            raise self._unreadable(f"HTTP {status} and no JSON: {_start(text)}") from error
        # "Not Found" is the word for a path that the API does not have; for an object it says which.
        unknown_object = isinstance(answer, dict) and answer.get("detail") not in (None, "Not Found")
        if status in (http.HTTPStatus.OK, http.HTTPStatus.CREATED) or (
            status == http.HTTPStatus.NOT_FOUND and unknown_object
        ):
            return answer
        raise self._unreadable(f"HTTP {status}: {_start(text)}")

    def _mapping(self, answer: object) -> Mapping[str, Any]:
        if not isinstance(answer, dict):
            raise self._unreadable(f"a {type(answer).__name__} where a mapping belongs")
        return answer

    def _listed(self, answer: object) -> list[Mapping[str, Any]]:
        if not isinstance(answer, list):
            raise self._unreadable(f"a {type(answer).__name__} where a list belongs")
        return [self._mapping(each) for each in answer]

    def _unreachable(self, seen: str) -> PrefectUnreachable:
        return PrefectUnreachable(
            "Prefect did not answer",
            expected=f"an answer from {self._url} within {TIMEOUT_S:g} s",
            seen=seen,
            action="check that its server runs and that k2_orchestrator.url names its API",
        )

    def _unreadable(self, seen: str) -> NotPrefect:
        return NotPrefect(
            "this is not Prefect's API",
            expected=f"the REST API of Prefect 3 at {self._url}",
            seen=seen,
            action="let k2_orchestrator.url be the address of the API; it usually ends in /api",
        )

    def _no_such(self, name: str, hint: str) -> NoSuchDeployment:
        return NoSuchDeployment(
            f"there is no deployment {name!r}",
            seen=hint,
            action="deploy it, or correct its name under k2_orchestrator.deployments",
        )


def _header_time(headers: Message) -> Optional[int]:
    date = headers.get("Date")
    if date is None:
        return None
    try:
        return int(parsedate_to_datetime(date).timestamp()) * 1_000_000
    except (TypeError, ValueError):
        return None


def _start(text: bytes) -> str:
    return " ".join(text[:300].decode("utf-8", "replace").split())
