#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Module k2_monitoring_info: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: k2_monitoring_info
short_description: Tell whether Prometheus and Alertmanager run what the catalogue of alerts asks for
version_added: "0.1.0"
description:
  - For V(prometheus), compares the rules and targets it runs with those rendered, runs the rules' tests, moves each
    threshold to see whether the tests notice, and looks for every metric that a rule reads.
  - For V(alertmanager), checks its configuration and where by it each alert goes, and that it runs this configuration.
  - Changes nothing. A difference is data here, not a failure of the task.
author:
  - The k2.hardening authors (@k2-hardening)
extends_documentation_fragment:
  - k2.hardening.monitoring_server
options:
  expected:
    description: C(expected) of what P(k2.hardening.monitoring#lookup) rendered for the server.
    type: dict
    required: true
  proof:
    description: What P(k2.hardening.monitoring#lookup) rendered as V(proof). Needed for V(prometheus).
    type: dict
    default: {}
  wait:
    description: Seconds to wait at most until rules are evaluated and metrics have been scraped.
    type: float
    default: 45
attributes:
  check_mode:
    support: full
    description: Changes nothing anyway.
  diff_mode:
    support: none
    description: Changes nothing.
  idempotent:
    support: full
    description: Changes nothing.
"""

EXAMPLES = r"""
- name: Look at Prometheus
  k2.hardening.k2_monitoring_info:
    server: prometheus
    url: http://127.0.0.1:9090
    directory: /etc/prometheus
    file: prometheus.yml
    tool: [promtool]
    expected: "{{ lookup('k2.hardening.monitoring', 'prometheus', profile=k2_profile).expected }}"
    proof: "{{ lookup('k2.hardening.monitoring', 'proof', profile=k2_profile) }}"
"""

RETURN = r"""
rules:
  description:
    - The server's C(version), the count of rules C(expected), and C(differences); C(error) where it could not be asked.
  returned: for prometheus
  type: dict
tests:
  description: The count of C(cases), promtool's C(failure), the count of C(mutants) and the C(survivors) among them.
  returned: for prometheus
  type: dict
metrics:
  description: The count of C(series) by metric, and the alerts that are its C(readers).
  returned: for prometheus
  type: dict
missing_metrics:
  description: The metrics without a series.
  returned: for prometheus
  type: list
  elements: str
left_out:
  description: The alerts that this platform does without, and why.
  returned: for prometheus
  type: dict
alertmanager:
  description:
    - The server's C(version), the count of C(routes) tried, and C(problems); C(error) where it could not be asked.
  returned: for alertmanager
  type: dict
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.deploy.arguments import checker_of, server_arguments
from ansible_collections.k2.hardening.plugins.module_utils.deploy.expected import expected_from
from ansible_collections.k2.hardening.plugins.module_utils.measure.monitoring.proof import (
    see_alertmanager,
    see_metrics,
    see_rules,
    see_tests,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **server_arguments(),
            "expected": {"type": "dict", "required": True},
            "proof": {"type": "dict", "default": {}},
            "wait": {"type": "float", "default": 45},
        },
        required_if=[("server", "prometheus", ["proof"])],
        supports_check_mode=True,
    )
    try:
        answer = _answer(module.params)
    except K2Error as error:
        module.fail_json(msg=str(error), **error.as_dict())
    module.exit_json(changed=False, **answer)


def _answer(params: dict[str, Any]) -> dict[str, Any]:
    directory, url = Path(params["directory"]), params["url"]
    checker = checker_of(params)
    expected = expected_from(params["expected"])
    if params["server"] == "alertmanager":
        return {"alertmanager": asdict(see_alertmanager(url, directory / params["file"], checker, expected))}
    proof = params["proof"]
    metrics = see_metrics(url, proof.get("metrics", {}), params["wait"])
    return {
        "rules": asdict(see_rules(url, params["shares_file"], params["file"], directory, expected, params["wait"])),
        "tests": asdict(see_tests(checker, proof.get("tests", {}), proof.get("mutants", []))),
        "metrics": asdict(metrics),
        "missing_metrics": [name for name, count in metrics.series.items() if not count],
        "left_out": proof.get("left_out", {}),
    }


if __name__ == "__main__":
    main()
