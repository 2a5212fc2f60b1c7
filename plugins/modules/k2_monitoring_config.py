#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Module k2_monitoring_config: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: k2_monitoring_config
short_description: Deploy the configuration of Prometheus or Alertmanager, verified or rolled back
version_added: "0.1.0"
description:
  - Stages the directory with its changes, has the deployed version's own tool check the whole of it, moves each file
    into place by renaming it, has the server read it, and asks the server's API whether it runs what was rendered.
  - Where it does not, the old files are put back and loaded, and the task fails.
  - The server must take C(POST /-/reload).
  - Owns the files that it wrote, and only those. What it no longer has is removed; a file of somebody else in the way
    is refused, but for the server's own configuration file, whose original comes back with O(state=absent).
  - A run that was killed between the first and the last renaming is put back by the next one.
author:
  - The k2.hardening authors (@k2-hardening)
extends_documentation_fragment:
  - k2.hardening.monitoring_server
options:
  state:
    description: V(absent) removes what this module put there and brings back what it took the place of.
    type: str
    choices: [present, absent]
    default: present
  bundle:
    description:
      - What P(k2.hardening.monitoring#lookup) rendered for the server.
      - Its C(secret_files) are written with mode 0600, and neither they nor their differences are shown.
    type: dict
    default: {}
    suboptions:
      files:
        description: Text of each file, by its path in O(directory).
        type: dict
        default: {}
      secret_files:
        description: The same of files that hold secrets.
        type: dict
        default: {}
      tests:
        description: Rule tests that must hold before anything is changed, by file name.
        type: dict
        default: {}
      expected:
        description: What the server must tell of itself afterwards.
        type: dict
        default: {}
      left_out:
        description: Reasons of what the platform has no metric for, by alert.
        type: dict
        default: {}
  verify_timeout:
    description:
      - Seconds that the server may take to run what was rendered; every rule is evaluated once before it counts.
    type: float
    default: 60
attributes:
  check_mode:
    support: partial
    description: Tells what would change and checks it with O(tool).
    details: A tool in a container sees the directory alone, where check mode puts nothing; then nothing is checked.
  diff_mode:
    support: full
    description: Shows the text of every file before and after, but for secrets.
  idempotent:
    support: full
    description: A second run changes nothing, and verifies again.
"""

EXAMPLES = r"""
- name: Deploy rules and scrape configuration
  k2.hardening.k2_monitoring_config:
    server: prometheus
    url: http://127.0.0.1:9090
    directory: /etc/prometheus
    file: prometheus.yml
    tool: [promtool]
    bundle: "{{ lookup('k2.hardening.monitoring', 'prometheus', profile=lookup('k2.hardening.profile')) }}"

- name: Take them away again
  k2.hardening.k2_monitoring_config:
    server: prometheus
    url: http://127.0.0.1:9090
    directory: /etc/prometheus
    file: prometheus.yml
    tool: [docker, exec, k2-prometheus, promtool]
    seen_as: /etc/prometheus
    state: absent
"""

RETURN = r"""
changed_files:
  description: Paths below O(directory) that were written, removed or brought back, or would be in check mode.
  returned: success
  type: list
  elements: str
reloaded:
  description: Whether the server had to be told to read its configuration.
  returned: success
  type: bool
version:
  description: The server's version; empty in check mode.
  returned: success
  type: str
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.deploy.arguments import checker_of, server_arguments
from ansible_collections.k2.hardening.plugins.module_utils.deploy.deployment import Deployment, Outcome, Request
from ansible_collections.k2.hardening.plugins.module_utils.deploy.expected import expected_from
from ansible_collections.k2.hardening.plugins.module_utils.deploy.servers import (
    AlertmanagerServer,
    PrometheusServer,
    Server,
)
from ansible_collections.k2.hardening.plugins.module_utils.deploy.tree import Content, Tree


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **server_arguments(),
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "bundle": {
                "type": "dict",
                "default": {},
                "options": {
                    "files": {"type": "dict", "default": {}},
                    "secret_files": {"type": "dict", "default": {}, "no_log": True},
                    "tests": {"type": "dict", "default": {}},
                    "expected": {"type": "dict", "default": {}},
                    "left_out": {"type": "dict", "default": {}},
                },
            },
            "verify_timeout": {"type": "float", "default": 60},
        },
        supports_check_mode=True,
    )
    try:
        outcome = _outcome(module.params, check_mode=module.check_mode)
    except K2Error as error:
        module.fail_json(msg=str(error), **error.as_dict())
    for warning in outcome.warnings:
        module.warn(warning)
    module.exit_json(
        changed=outcome.changed,
        changed_files=[path for path, _, _ in outcome.diffs],
        reloaded=outcome.reloaded,
        version=outcome.version,
        diff=_diff(module.params["directory"], outcome),
    )


def _outcome(params: dict[str, Any], *, check_mode: bool) -> Outcome:
    directory = Path(params["directory"])
    adopted = () if params["shares_file"] else (params["file"],)
    deployment = Deployment(Tree(directory, adopted), _server(params), checker_of(params))
    request = _request(params)
    return deployment.preview(request) if check_mode else deployment.run(request)


def _server(params: dict[str, Any]) -> Server:
    if params["server"] == "prometheus":
        return PrometheusServer(params["url"], params["file"], shares_file=params["shares_file"])
    return AlertmanagerServer(params["url"], params["file"])


def _request(params: dict[str, Any]) -> Request:
    bundle = params["bundle"] if params["state"] == "present" else {}
    files = {path: Content(text) for path, text in bundle.get("files", {}).items()}
    files |= {path: Content(text, is_secret=True) for path, text in bundle.get("secret_files", {}).items()}
    return Request(files, bundle.get("tests", {}), expected_from(bundle.get("expected", {})), params["verify_timeout"])


def _diff(directory: str, outcome: Outcome) -> list[dict[str, str]]:
    return [
        {
            "before_header": f"{directory}/{path}",
            "after_header": f"{directory}/{path}",
            "before": before,
            "after": after,
        }
        for path, before, after in outcome.diffs
    ]


if __name__ == "__main__":
    main()
