# SPDX-License-Identifier: Apache-2.0
"""How modules are told where Grafana is; documented in the doc fragment ``k2.hardening.grafana``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...core.errors import K2Error
from ...platform.grafana import Access


class BadAddress(K2Error):  # noqa: N818 - see core.errors
    """No http or https address."""


def access_arguments() -> dict[str, Any]:
    """The argument specs of address and credentials."""
    return {
        "url": {"type": "str", "required": True},
        "username": {"type": "str", "default": ""},
        "password": {"type": "str", "default": "", "no_log": True},
        "token": {"type": "str", "default": "", "no_log": True},
        "timeout": {"type": "float", "default": 10},
    }


def read_access(params: Mapping[str, Any]) -> Access:
    """The same as a value; raises BadAddress."""
    url = str(params["url"])
    if not url.startswith(("http://", "https://")):
        raise BadAddress(
            "Grafana's address cannot be used",
            expected="http://... or https://...",
            seen=repr(url),
            action="let k2_alerting.grafana_url, or k2_grafana_url, be the address of Grafana itself",
        )
    return Access(url, params["username"], params["password"], params["token"], params["timeout"])
