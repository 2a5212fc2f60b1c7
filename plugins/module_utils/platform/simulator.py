# SPDX-License-Identifier: Apache-2.0
"""The control interface of simulated sources (``k2_load.control_url``): a question and its answer, JSON over HTTP.

What there is to ask is told where it is asked: loads in ``measure/load/simulator.py``, refusals in
``fault/inject/source.py``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Optional

from ..core.errors import K2Error
from .http_api import BodyTooLarge, exchange

TIMEOUT_S = 5.0
_BODY_LIMIT = 1024 * 1024


class SimulatorError(K2Error):
    """The simulator did not answer, or not so that it can be understood."""


class SimulatorControl:
    """The control interface at one address. Stateless: a connection per question."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def ask(self, method: str, path: str, body: Optional[Mapping[str, Any]] = None) -> tuple[int, bytes]:
        """Status and text of the answer, whatever they are.

        :raises SimulatorError: there was none within TIMEOUT_S.
        """
        text = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        try:
            answer = exchange(
                method, self.url, path, body=text, headers=headers, timeout_s=TIMEOUT_S, limit_bytes=_BODY_LIMIT
            )
        except (OSError, BodyTooLarge) as error:
            raise SimulatorError(
                "the simulator did not answer",
                expected=f"an answer from {self.url}{path} within {TIMEOUT_S:g} s",
                seen=f"{type(error).__name__}: {error}",
                action="check that it runs and that k2_load.control_url is its control interface",
            ) from error
        return answer.status, answer.body


def decoded(text: bytes) -> dict[str, Any]:
    """The JSON object in an answer.

    :raises SimulatorError: it holds none.
    """
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise SimulatorError("the simulator cannot be understood", expected="a JSON object", seen=repr(text[:120]))
    return answer
