# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: k2_runbook_test
short_description: Bring a failure about, follow its runbook command by command, and see whether it mends the platform
version_added: "0.1.0"
description:
  - Runs the commands of the diagnosis on the healthy platform, where they must not show the symptom.
  - Brings the failure about with self-healing held back. A supervisor leaves the program down, an engine's restart
    policy is
    taken off, a schedule is paused. All of it is in the undo journal first, and a watchdog is up.
  - Runs the commands of the diagnosis again, which must show the symptom, and then those of the resolution.
  - Then every probe must succeed and records must flow, without this module's doing. For failures of the cold tier
    every
    watermark has to have moved.
  - At the end everything is put back, also what the runbook did not mend.
  - Whether the runbook passes is not decided here but by M(k2.hardening.k2_gates).
author:
  - The k2.hardening authors (@k2-hardening)
extends_documentation_fragment:
  - k2.hardening.profile
options:
  mode:
    description: The runbook's failure, as M(k2.hardening.k2_runbooks) lists it.
    type: str
    required: true
  runbook:
    description: The page itself, as Markdown. Its own blocks of bash are what is run.
    type: str
    required: true
  service:
    description:
      - Which service of the failure to break; the first by default, the one that the page chooses as it stands.
    type: str
  confirm:
    description: The platform's name, O(profile.k2_platform), said back. Required except in check mode.
    type: str
  state_dir:
    description: Directory on the target below which the undo journal and the lock of each platform lie.
    type: path
    required: true
  run_id:
    description: The run that this belongs to, for the journal and for whoever finds the platform busy.
    type: str
    default: ""
  steady_timeout:
    description:
      - Seconds until everything has to be well before the fault. Otherwise nothing is broken, and the module fails.
    type: float
    default: 60
  limit_seconds:
    description: How long the failure lasts at most, unless the runbook mends it.
    type: float
    default: 240
  run_timeout:
    description: For a failure of a run of the orchestrator, the seconds until one has to be at work.
    type: float
    default: 120
  progress_file:
    description: File that receives progress events, one JSON object per line.
    type: path
attributes:
  check_mode:
    support: full
    description: Returns the fault and the commands, and why it could not be brought about just now. Touches nothing.
  diff_mode:
    support: none
    description: What is changed is put back.
  idempotent:
    support: none
    description: Each call breaks the service once more.
requirements:
  - Python 3.9 or later on the target
  - bash, curl and whatever else the runbook's commands are
  - psycopg for that Python, where the failure is one of the cold tier
  - root, or the user of the services, for signals; root for containers and packet filters
notes:
  - The commands run as the user of this module, with its rights. Read the page first.
seealso:
  - module: k2.hardening.k2_runbooks
  - module: k2.hardening.k2_undo
"""

EXAMPLES = r"""
- name: See whether the runbook for a broker that did not come back holds
  k2.hardening.k2_runbook_test:
    profile: "{{ lookup('k2.hardening.profile') }}"
    mode: broker_restart
    runbook: "{{ lookup('ansible.builtin.file', 'artifacts/latest/report/runbooks/broker_restart.md') }}"
    confirm: "{{ k2_confirm }}"
    state_dir: /var/lib/k2-hardening
  register: followed
"""

RETURN = r"""
plan:
  description:
    - What would be done; C(action) to C(service), C(undo), the commands of C(diagnosis) and C(resolution), and
      C(obstacle).
  returned: in check mode
  type: dict
trial:
  description: What came of it.
  returned: success, not in check mode
  type: dict
  contains:
    mode:
      description: The runbook; C(service) is what was broken, C(action) how.
      type: str
    proof:
      description: Whether the fault took effect, and what shows it.
      type: dict
    healthy:
      description:
        - The commands of the diagnosis on the healthy platform. Each has its C(command), what was C(expected),
          whether that was
          C(ok) or C(why) not, its exit C(code) and C(output), how long it C(took_s), and how many C(runs) it was given.
      type: list
      elements: dict
    diagnosis:
      description: The same while the failure was there.
      type: list
      elements: dict
    resolution:
      description: The commands of the resolution, up to the first that did not come to what the page says.
      type: list
      elements: dict
    steady:
      description:
        - Whether all that the failure may touch was well afterwards; C(not_steady) is what was not, and C(elsewhere)
          what was not beyond its reach.
      type: bool
    recovered_s:
      description: Bounds of the time from the fault until all was well; null where that was not so.
      type: list
      elements: float
    diagnosed_s:
      description: How long the diagnosis took; C(resolved_s) is the same of the resolution.
      type: float
    undone_by:
      description: Who ended the failure, V(runbook), V(tool) or V(watchdog).
      type: str
    left:
      description: What differs from before, after all.
      type: list
      elements: str
    error:
      description: What ended it early.
      type: str
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.measure.runbook.page import read_page
from ansible_collections.k2.hardening.plugins.module_utils.measure.runbook.trial import TrialRequest, plan, try_runbook
from ansible_collections.k2.hardening.plugins.module_utils.profile.arguments import profile_argument
from ansible_collections.k2.hardening.plugins.module_utils.profile.confirm import require_confirmed
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "profile": profile_argument(),
            "mode": {"type": "str", "required": True},
            "runbook": {"type": "str", "required": True},
            "service": {"type": "str"},
            "confirm": {"type": "str"},
            "state_dir": {"type": "path", "required": True},
            "run_id": {"type": "str", "default": ""},
            "steady_timeout": {"type": "float", "default": 60},
            "limit_seconds": {"type": "float", "default": 240},
            "run_timeout": {"type": "float", "default": 120},
            "progress_file": {"type": "path"},
        },
        supports_check_mode=True,
    )
    try:
        answer = _answer(module)
    except K2Error as error:
        module.fail_json(msg=str(error), **error.as_dict())
    module.exit_json(**answer)


def _answer(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    profile = parse_profile(params["profile"])
    page = read_page(params["runbook"])
    request = TrialRequest(
        mode=params["mode"],
        service=params["service"],
        run_id=params["run_id"],
        steady_timeout_s=params["steady_timeout"],
        limit_s=params["limit_seconds"],
        run_timeout_s=params["run_timeout"],
    )
    if module.check_mode:
        return {"changed": True, "plan": plan(profile, request, page)}
    require_confirmed(profile, params["confirm"], "a fault")
    progress_file = Path(params["progress_file"]) if params["progress_file"] else None
    trial = try_runbook(profile, request, page, Path(params["state_dir"]), progress_file)
    for earlier in trial.undone_before:
        module.warn(f"an earlier run had left this, which was undone first: {earlier}")
    return {"changed": True, "trial": trial.to_plain()}


if __name__ == "__main__":
    main()
