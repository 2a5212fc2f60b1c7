# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: k2_preflight_info
short_description: Watch whether trades flow, clocks agree and nothing is left open
version_added: "0.1.0"
description:
  - For every tier of the profile that states its freshness and every exchange, watches until new and fresh rows
    appear or the time is up.
  - Bounds the skew of the database's clock and the target's clock against the controller's.
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
"""

from dataclasses import asdict
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
            "state_dir": {"type": "path", "required": True},
            "progress_file": {"type": "path"},
        },
        supports_check_mode=True,
    )
    params = module.params
    progress_file = Path(params["progress_file"]) if params["progress_file"] else None
    try:
        profile = parse_profile(params["profile"])
        seen = observe(profile, params["flow_timeout"], Path(params["state_dir"]), progress_file)
    except K2Error as error:
        module.fail_json(msg=str(error), **error.as_dict())
    module.exit_json(changed=False, **asdict(seen))


if __name__ == "__main__":
    main()
