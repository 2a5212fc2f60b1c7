# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: k2_failure_modes_info
short_description: Tell which faults would be brought about, in which order, and what each would do
version_added: "0.1.0"
description:
  - Lists the failure modes of O(profile.k2_failure_modes) and the crashes that follow from O(profile.k2_services), in
    order of rising risk, with the plan of every fault.
  - Looks at the units and changes nothing.
author:
  - The k2.hardening authors (@k2-hardening)
extends_documentation_fragment:
  - k2.hardening.profile
options:
  only:
    description:
      - Names of the modes to choose, C(crashes) for all that follow from the services. All modes when empty.
    type: list
    elements: str
    default: []
  steady_timeout:
    description: As for M(k2.hardening.k2_kill_and_measure), as is O(run_timeout), for how long it all takes at most.
    type: float
    default: 60
  run_timeout:
    description: See O(steady_timeout).
    type: float
    default: 180
attributes:
  check_mode:
    support: full
    description: Nothing is changed either way.
  diff_mode:
    support: none
    description: Nothing is changed.
  idempotent:
    support: full
    description: Nothing is changed.
requirements:
  - Python 3.9 or later on the target
seealso:
  - module: k2.hardening.k2_kill_and_measure
"""

EXAMPLES = r"""
- name: See what would be broken
  k2.hardening.k2_failure_modes_info:
    profile: "{{ lookup('k2.hardening.profile') }}"
  register: planned
"""

RETURN = r"""
rounds:
  description:
    - Groups of faults, in order. One load runs through a group and one audit follows it. A mode that the profile lists
      is a group of its own; neighbouring crashes that follow from the services share one.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: What to call it.
      type: str
    implied:
      description: Whether its modes are crashes that the profile does not list.
      type: bool
    modes:
      description: Names of its modes.
      type: list
      elements: str
    at_most_s:
      description: Seconds that all its faults take at most.
      type: float
    likely_s:
      description: Seconds that they take where everything recovers just in time, with what is watched around each.
      type: float
    faults:
      description: Each mode with each of its services, as RV(k2.hardening.k2_kill_and_measure#module:plan) has it.
      type: list
      elements: dict
unselected:
  description: Modes that O(only) leaves out.
  returned: success
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.measure.failure.request import FailureRequest
from ansible_collections.k2.hardening.plugins.module_utils.measure.failure.rounds import rounds, to_plain
from ansible_collections.k2.hardening.plugins.module_utils.profile.arguments import profile_argument
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "profile": profile_argument(),
            "only": {"type": "list", "elements": "str", "default": []},
            "steady_timeout": {"type": "float", "default": 60},
            "run_timeout": {"type": "float", "default": 180},
        },
        supports_check_mode=True,
    )
    try:
        answer = _answer(module.params)
    except K2Error as error:
        module.fail_json(msg=str(error), **error.as_dict())
    module.exit_json(changed=False, **answer)


def _answer(params: dict[str, Any]) -> dict[str, Any]:
    profile = parse_profile(params["profile"])
    found, left = rounds(profile, params["only"])
    waits = FailureRequest("", steady_timeout_s=params["steady_timeout"], run_timeout_s=params["run_timeout"])
    return {"rounds": to_plain(profile, found, waits), "unselected": list(left)}


if __name__ == "__main__":
    main()
