# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: k2_dashboard_info
short_description: Tell of each panel of Grafana's dashboards whether it shows data
version_added: "0.1.0"
description:
  - Walks all panels of each dashboard, also those in collapsed rows, resolves variables and Grafana's intervals as a
    browser does, posts every query to C(/api/ds/query), and says what each returned.
  - A dashboard that is not there is a result with an error, not a failure. Changes nothing.
author:
  - The k2.hardening authors (@k2-hardening)
extends_documentation_fragment:
  - k2.hardening.grafana
options:
  uids:
    description: The dashboards to look at; all that have every tag of O(tags) when empty.
    type: list
    elements: str
    default: []
  tags:
    description: Tags that dashboards have to have, where O(uids) is empty.
    type: list
    elements: str
    default: [k2-hardening]
  window:
    description: Seconds up to now that queries are about.
    type: float
    default: 900
  wait:
    description: Seconds to wait at most until every panel is well; V(0) looks once.
    type: float
    default: 0
  may_be_empty:
    description:
      - Panels that may return nothing. An entry about a panel that does not exist is refused, one about a panel that
        returns data is listed in RV(dashboards[].unneeded).
      - A panel whose query fails is never excused.
    type: list
    elements: dict
    default: []
    suboptions:
      dashboard:
        description: The dashboard's uid.
        type: str
        required: true
      panel:
        description: The panel's title, or its id.
        type: str
        required: true
      ref:
        description: One query of the panel by its C(refId); all of them when empty.
        type: str
        default: ""
      reason:
        description: Why it may be empty.
        type: str
        required: true
attributes:
  check_mode:
    support: full
    description: Changes nothing.
  diff_mode:
    support: none
    description: Changes nothing.
  idempotent:
    support: full
    description: Changes nothing.
requirements:
  - Python 3.9 or later on the target
  - Grafana 10 or later
"""

EXAMPLES = r"""
- name: Ask every panel
  k2.hardening.k2_dashboard_info:
    url: http://127.0.0.1:3000
    username: admin
    password: "{{ vault_grafana_password }}"
    may_be_empty:
      - {dashboard: k2-broker, panel: Rejected records, reason: nothing was ever rejected}
  register: looked

- name: Fail where a panel shows nothing
  ansible.builtin.assert:
    that: looked.dashboards | map(attribute='panels') | flatten | rejectattr('well') | length == 0
"""

RETURN = r"""
version:
  description: Grafana's version.
  returned: success
  type: str
data_sources:
  description: All data sources, and why each cannot be queried (null where it can). Only those of Prometheus are asked.
  returned: success
  type: list
  elements: dict
  sample:
    - {uid: k2-prometheus, name: K2 Prometheus, type: prometheus, problem: null}
dashboards:
  description: Each dashboard and its panels.
  returned: success
  type: list
  elements: dict
  contains:
    uid:
      description: Its uid.
      type: str
    title:
      description: Its title.
      type: str
    digest:
      description: What identifies its content.
      type: str
    error:
      description: Why it could not be looked at; null otherwise.
      type: str
    unneeded:
      description: Entries of O(may_be_empty) about panels that return data.
      type: list
      elements: str
    panels:
      description: Each panel with the class of the worst of its queries.
      type: list
      elements: dict
      sample:
        - id: 3
          title: Trades per second
          row: Flow
          type: timeseries
          class: data
          well: true
          allowed: null
          queries:
            - ref: A
              expression: sum(rate(trades_total[1m0s]))
              class: data
              frames: 1
              rows: 61
              numbers: 61
              error: null
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.deploy.grafana.arguments import access_arguments, read_access
from ansible_collections.k2.hardening.plugins.module_utils.measure.dashboards.look import (
    Look,
    look_until_well,
    source_problems,
)
from ansible_collections.k2.hardening.plugins.module_utils.measure.dashboards.model import Allowed
from ansible_collections.k2.hardening.plugins.module_utils.platform.grafana import GrafanaClient


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **access_arguments(),
            "uids": {"type": "list", "elements": "str", "default": []},
            "tags": {"type": "list", "elements": "str", "default": ["k2-hardening"]},
            "window": {"type": "float", "default": 900},
            "wait": {"type": "float", "default": 0},
            "may_be_empty": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "dashboard": {"type": "str", "required": True},
                    "panel": {"type": "str", "required": True},
                    "ref": {"type": "str", "default": ""},
                    "reason": {"type": "str", "required": True},
                },
            },
        },
        supports_check_mode=True,
    )
    params: dict[str, Any] = module.params
    try:
        client = GrafanaClient(read_access(params))
        version = client.version()
        uids = params["uids"] or [found.uid for found in client.search(params["tags"])]
        allowed = tuple(Allowed(**entry) for entry in params["may_be_empty"])
        results = look_until_well(client, Look(tuple(uids), params["window"], allowed), params["wait"])
        sources = source_problems(client)
    except K2Error as error:
        module.fail_json(msg=str(error), **error.as_dict())
    module.exit_json(
        changed=False,
        version=version,
        data_sources=sources,
        dashboards=[result.as_dict() for result in results],
    )


if __name__ == "__main__":
    main()
