# SPDX-License-Identifier: Apache-2.0
"""The ``profile`` parameter that modules share; documented in the doc fragment ``k2.hardening.profile``.

Sections that hold a password list their keys, because only so can Ansible keep the password out of logs and results.
All other checking is ``parse_profile``'s, which tells all problems at once.
"""

from __future__ import annotations

from typing import Any

_PLAIN = ("k2_platform", "k2_services")
_OPTIONAL = (
    "k2_broker",
    "k2_orchestrator",
    "k2_budget",
    "k2_failure_modes",
    "k2_metric_names",
    "k2_runbooks",
)
_ALERTING_TEXTS = (
    "prometheus_url",
    "alertmanager_url",
    "alertmanager_reached_at",
    "grafana_url",
    "runbooks_url",
    "log_url",
    "team",
    "scrape_interval",
    "evaluation_interval",
)
_ALERTING_DICTS = ("thresholds", "timings", "not_applicable", "prometheus", "alertmanager", "routing")


def profile_argument() -> dict[str, Any]:
    """The argument spec of ``profile``."""
    options: dict[str, Any] = {name: {"type": "dict", "required": True} for name in _PLAIN}
    options.update({name: {"type": "dict"} for name in _OPTIONAL})
    options["k2_tiers"] = {"type": "list", "elements": "dict"}
    options["k2_clickhouse"] = {
        "type": "dict",
        "options": {
            "host": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
            "secure": {"type": "bool"},
            "username": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "database": {"type": "str", "required": True},
            "timeout_s": {"type": "float"},
        },
    }
    options["k2_watermarks"] = {
        "type": "dict",
        "options": {
            "host": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
            "database": {"type": "str", "required": True},
            "username": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "table": {"type": "str", "required": True},
            "name_column": {"type": "str", "required": True},
            "time_column": {"type": "str", "required": True},
            "max_age_s": {"type": "float", "required": True},
            "sources": {"type": "list", "elements": "str"},
            "needs": {"type": "list", "elements": "str"},
        },
    }
    options["k2_load"] = {
        "type": "dict",
        "options": {
            "rates": {"type": "dict"},
            "targets": {"type": "dict"},
            "control_url": {"type": "str"},
            "segments": {"type": "list", "elements": "dict"},
            "stretch": {"type": "dict"},
            "records": {"type": "dict"},
            "cleanup": {
                "type": "dict",
                "options": {
                    "username": {"type": "str", "required": True},
                    "password": {"type": "str", "required": True, "no_log": True},
                },
            },
        },
    }
    options["k2_object_store"] = {
        "type": "dict",
        "options": {
            "url": {"type": "str", "required": True},
            "bucket": {"type": "str", "required": True},
            "access_key": {"type": "str", "required": True, "no_log": False},
            "secret_key": {"type": "str", "required": True, "no_log": True},
            "clickhouse_url": {"type": "str"},
            "catalog": {
                "type": "dict",
                "options": {
                    "host": {"type": "str", "required": True},
                    "port": {"type": "int", "required": True},
                    "database": {"type": "str", "required": True},
                    "username": {"type": "str", "required": True},
                    "password": {"type": "str", "required": True, "no_log": True},
                    "table": {"type": "str"},
                    "name": {"type": "str"},
                },
            },
        },
    }
    options["k2_alerting"] = {"type": "dict", "options": _alerting()}
    return {"type": "dict", "required": True, "options": options}


def _alerting() -> dict[str, Any]:
    options: dict[str, Any] = {name: {"type": "str"} for name in _ALERTING_TEXTS}
    options.update({name: {"type": "dict"} for name in _ALERTING_DICTS})
    options["dead_mans_switch_url"] = {"type": "str", "no_log": True}
    secret = {"type": "str", "required": True, "no_log": True}
    options["receivers"] = {
        "type": "list",
        "elements": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "match": {"type": "dict"},
            "webhook": {"type": "dict", "options": {"url": secret}},
            "slack": {
                "type": "dict",
                "options": {"channel": {"type": "str", "required": True}, "api_url": secret},
            },
            "email": {
                "type": "dict",
                "options": {
                    "to": {"type": "str", "required": True},
                    "from": {"type": "str", "required": True},
                    "smarthost": {"type": "str", "required": True},
                    "username": {"type": "str"},
                    "require_tls": {"type": "bool"},
                    "password": {"type": "str", "no_log": True},
                },
            },
            "pagerduty": {"type": "dict", "options": {"url": {"type": "str"}, "routing_key": secret}},
            "telegram": {
                "type": "dict",
                "options": {
                    "chat_id": {"type": "int", "required": True},
                    "api_url": {"type": "str"},
                    "bot_token": secret,
                },
            },
        },
    }
    return options
