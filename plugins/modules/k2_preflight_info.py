# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: k2_preflight_info
short_description: Watch whether trades flow, the offload keeps up, clocks agree and nothing is left open
version_added: "0.1.0"
description:
  - For every tier of the profile that states its freshness and every exchange, watches until new and fresh rows
    appear or the time is up.
  - Where the profile has O(profile.k2_watermarks), reads the watermarks from Postgres until all are fresh or the time
    is up.
  - Where the profile has O(profile.k2_orchestrator), asks Prefect for its deployments and their last runs, likewise.
  - These are watched side by side, so the module takes as long as the longest of them.
  - Bounds the skew of the database's clock and the target's clock against the controller's.
  - Compares what the runtimes and the stores have with what the profile says of them, name by name.
  - Searches the undo journal, and Alertmanager where the profile names one, for what an earlier run left open.
  - Changes nothing. Each query is bounded to rows newer than the start of the watch.
author:
  - The k2.hardening authors (@k2-hardening)
extends_documentation_fragment:
  - k2.hardening.profile
options:
  flow_timeout:
    description: Seconds to wait at most for every exchange to flow through every tier.
    type: int
    default: 60
  offload_timeout:
    description:
      - Seconds to wait at most until every watermark is fresh and every deployment has completed a run lately.
      - With V(0), looks once.
    type: int
    default: 180
  state_dir:
    description: Directory on the target below which the undo journal of each platform lies.
    type: path
    required: true
  progress_file:
    description: File that receives progress events, one JSON object per line.
    type: path
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
  - psycopg or psycopg2 for that Python, where the profile has O(profile.k2_watermarks)
"""

EXAMPLES = r"""
- name: Watch the platform
  k2.hardening.k2_preflight_info:
    profile: "{{ lookup('k2.hardening.profile') }}"
    state_dir: /var/lib/k2-hardening
  register: preflight
"""

RETURN = r"""
flows:
  description: What was seen of each exchange in each tier.
  returned: success
  type: list
  elements: dict
  sample:
    - tier: silver
      table: silver_trades
      exchange: binance
      new_rows: 17
      newest_age_s: 0.12
      max_age_s: 10.0
      watched_s: 1.0
      error: null
watermarks:
  description: The watermarks, or why they could not be read; null where the profile has no O(profile.k2_watermarks).
  returned: success
  type: dict
  contains:
    table:
      description: The table that was read.
      type: str
    database:
      description: Where it is, as C(host:port/database).
      type: str
    watermarks:
      description: What was last seen of each source.
      type: list
      elements: dict
      sample:
        - source: silver_trades
          found: true
          first: "2026-02-19T10:14:40.120000Z"
          at: "2026-02-19T10:15:40.090000Z"
          age_s: 3.1
          max_age_s: 300.0
          max_ahead_s: 0.005
          back_s: null
    clock:
      description: Postgres' own clock at the last reading, which ages refer to.
      type: str
    readings:
      description: How many times the table was read.
      type: int
    watched_s:
      description: How long it was watched.
      type: float
    error:
      description: Why the last reading failed, or why none was tried; null where it succeeded.
      type: str
    absent:
      description: Whether Postgres said that the database, table or column does not exist.
      type: bool
schedule:
  description: What was last seen of each deployment; null where the profile has no O(profile.k2_orchestrator).
  returned: success
  type: list
  elements: dict
  sample:
    - name: iceberg-offload-main/iceberg-offload-15min
      interval_s: 60.0
      max_age_s: 180.0
      max_ahead_s: 1.005
      paused: false
      active_schedules: 1
      completed: "2026-02-19T10:15:41.310000Z"
      age_s: 12.7
      clock: orchestrator
      recent: {COMPLETED: 9, CRASHED: 1}
      watched_s: 0.1
      missing: null
      error: null
clocks:
  description: Bounds of each clock's skew in milliseconds.
  returned: success
  type: list
  elements: dict
places:
  description: Each place that was searched and what lies open there.
  returned: success
  type: list
  elements: dict
mismatches:
  description:
    - Where the running platform is not as its profile says. Each tells what was expected, what was seen and what to do.
    - They decide no gate by themselves.
  returned: success
  type: list
  elements: dict
  contains:
    subject:
      description: The service, the network, the runtime or the place in the profile.
      type: str
    kind:
      description:
        - V(missing), V(ambiguous), V(state), V(restart), V(limit), V(heap), V(network), V(address) or V(labels) of a
          unit.
        - V(table) or V(column) of a store.
        - V(runtime) or V(unknown) where something could not be asked.
      type: str
    expected:
      description: What the profile says.
      type: str
    seen:
      description: What is there.
      type: str
    action:
      description: What to do about it.
      type: str
    text:
      description: All of it in one line.
      type: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.measure.preflight import observe
from ansible_collections.k2.hardening.plugins.module_utils.profile.arguments import profile_argument
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "profile": profile_argument(),
            "flow_timeout": {"type": "int", "default": 60},
            "offload_timeout": {"type": "int", "default": 180},
            "state_dir": {"type": "path", "required": True},
            "progress_file": {"type": "path"},
        },
        supports_check_mode=True,
    )
    params = module.params
    progress_file = Path(params["progress_file"]) if params["progress_file"] else None
    try:
        profile = parse_profile(params["profile"])
        state_dir = Path(params["state_dir"])
        seen = observe(profile, params["flow_timeout"], params["offload_timeout"], state_dir, progress_file)
    except K2Error as error:
        module.fail_json(msg=str(error), **error.as_dict())
    module.exit_json(changed=False, **seen.as_dict())


if __name__ == "__main__":
    main()
