# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: k2_alert_drill
short_description: Bring about what alerts are for, and see each fire, arrive and resolve
version_added: "0.1.0"
description:
  - Holds faults of O(profile.k2_failure_modes) until the alerts that they are to cause have fired in Prometheus and are
    in the receiver's own log, ends them, and waits until the alerts have resolved and that has arrived, too.
  - Faults are held side by side. Those on parts that all share are held by themselves.
  - So that nobody has to wait for hours, C(for), C(keep_firing_for), intervals and the waits of routes are shorter
    meanwhile. What Prometheus and Alertmanager say they run is compared with what they ran before; where anything but a
    wait differs, the drill does not go on.
  - What no fault can cause is fed as series into a Prometheus of its own, which runs the same rules and tells the same
    Alertmanager. Such alerts carry the label C(k2_drill=synthetic), and are told apart in the result.
  - At the end Alertmanager is stopped for a moment, to see that the absence of an alert that always fires is noticed.
  - Everything is put back, as with M(k2.hardening.k2_kill_and_measure), also when this module is killed.
  - Whether an alert passed is not decided here but by M(k2.hardening.k2_gates).
author:
  - The k2.hardening authors (@k2-hardening)
extends_documentation_fragment:
  - k2.hardening.profile
options:
  alerts:
    description: How each alert is drilled. By default made from the collection's catalogue of alerts for this profile.
    type: list
    elements: dict
    suboptions:
      name:
        description: The alert's name.
        type: str
        required: true
      labels:
        description: Labels that it has to carry at least.
        type: dict
      of_service:
        description: Whether its label C(service) has to name the service that is broken.
        type: bool
        default: false
      mode:
        description: The failure mode that causes it. One of O(alerts[].mode), O(alerts[].synthetic),
          O(alerts[].undrilled) and O(alerts[].always) is given.
        type: str
      hold_s:
        description: How long the fault has to last, in seconds, before it can fire.
        type: float
        default: 0
      synthetic:
        description: Series to be fed instead.
        type: dict
        suboptions:
          why:
            description: Why no fault can cause it.
            type: str
            required: true
          interval_s:
            description: Seconds between two values.
            type: float
            required: true
          series:
            description: Values by selector, in the notation of promtool's rule tests.
            type: dict
          at_s:
            description: When the alert has to fire, in seconds from the first value.
            type: float
            required: true
          quiet:
            description: Series for which it does not fire.
            type: dict
          epoch:
            description: Series whose values are Unix times, counted from the first value.
            type: list
            elements: str
          labels:
            description: Labels that it takes from the series.
            type: dict
      undrilled:
        description: Why it is not drilled.
        type: str
      always:
        description: Whether it fires without any fault.
        type: bool
        default: false
  only:
    description: Names of alerts to drill; all when empty.
    type: list
    elements: str
    default: []
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
  factor:
    description: By how much waits are shorter. With V(1) rules and routes are left as they are.
    type: float
    default: 0.05
  fire_seconds:
    description: How long an alert may take to arrive once its fault has lasted as long as it must.
    type: float
    default: 90
  over_seconds:
    description: How long alerts may take to resolve once all faults are ended.
    type: float
    default: 330
  dead_man_seconds:
    description: After how long without the alert that always fires its absence is noticed.
    type: float
    default: 30
  prometheus_program:
    description: The Prometheus program for series of its own. By default the one that runs on the target.
    type: path
  receiver:
    description:
      - The record of what arrived, as an address that answers C(GET /notifications?since=) or as a file with one JSON
        object in a line. By default O(profile.k2_alerting.log_url).
    type: str
  progress_file:
    description: File that receives progress events, one JSON object per line.
    type: path
attributes:
  check_mode:
    support: full
    description: Returns the plan. Touches nothing.
  diff_mode:
    support: none
    description: What is changed is put back.
  idempotent:
    support: none
    description: Each call breaks the platform once more.
requirements:
  - Python 3.9 or later on the target
  - Prometheus with C(--web.enable-lifecycle)
  - root, or the user of the services, for signals; root for containers and packet filters
notes:
  - Fails before anything is touched where an alert is unknown, none is deployed, a server does not answer, the
    receiver's log cannot be read, another run is at work, or the platform is not well.
seealso:
  - module: k2.hardening.k2_kill_and_measure
  - module: k2.hardening.k2_undo
"""

EXAMPLES = r"""
- name: See what would be broken
  k2.hardening.k2_alert_drill:
    profile: "{{ lookup('k2.hardening.profile') }}"
    state_dir: /var/lib/k2-hardening
  check_mode: true
  register: planned

- name: Drill every alert
  k2.hardening.k2_alert_drill:
    profile: "{{ lookup('k2.hardening.profile') }}"
    confirm: "{{ k2_confirm }}"
    state_dir: /var/lib/k2-hardening
  register: drilled

- name: Drill one alert with the waits that it has
  k2.hardening.k2_alert_drill:
    profile: "{{ lookup('k2.hardening.profile') }}"
    only: [ServiceDown]
    factor: 1
    confirm: "{{ k2_confirm }}"
    state_dir: /var/lib/k2-hardening
"""

RETURN = r"""
plan:
  description: What would be done.
  returned: in check mode
  type: dict
  contains:
    rounds:
      description: Faults that are held side by side, the alerts that each round is for, and how long it takes at most.
      type: list
      elements: dict
    synthetic:
      description: Alerts that are fed series, with the reasons.
      type: dict
    always:
      description: Alerts that fire without any fault.
      type: list
      elements: str
    undrilled:
      description: Alerts that are not drilled, with the reasons.
      type: dict
    factor:
      description: By how much waits are shorter.
      type: float
    at_most_s:
      description: How long all of it takes at most. By then watchdogs put back whatever is left.
      type: float
drill:
  description: What became of each alert. Times are microseconds since the epoch.
  returned: success, not in check mode
  type: dict
  contains:
    alerts:
      description:
        - Each alert, C(kind) V(live), V(synthetic) or V(always), with the labels that it had to carry and what was seen
          (when it was pending, fired, arrived and resolved, under which labels, with which value).
        - Where it did not fire, C(evaluation) is what its expression came to.
      type: list
      elements: dict
    faults:
      description: Each fault with its plan, its beginning and end, its proof and what it left.
      type: list
      elements: dict
    scaled:
      description: Each wait that was shorter (C(waits)); nothing else differed.
      type: dict
    not_put_back:
      description: What rules and routes differ in from before the drill; empty when in nothing.
      type: list
      elements: str
    dead_man:
      description: When the path was cut, when its silence was noticed, and when the alert came again.
      type: dict
    receiver:
      description: Whose record shows what arrived.
      type: str
    factor:
      description: By how much waits were shorter; C(started_us) and C(ended_us) bound the drill.
      type: float
    undone_before:
      description: What earlier runs had left broken, and was undone first.
      type: list
      elements: str
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.measure.drill.drill import drill, plan_drill
from ansible_collections.k2.hardening.plugins.module_utils.measure.drill.plan import read_plans
from ansible_collections.k2.hardening.plugins.module_utils.measure.drill.request import DrillRequest
from ansible_collections.k2.hardening.plugins.module_utils.profile.arguments import profile_argument
from ansible_collections.k2.hardening.plugins.module_utils.profile.confirm import require_confirmed
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile

SYNTHETIC = {
    "why": {"type": "str", "required": True},
    "interval_s": {"type": "float", "required": True},
    "series": {"type": "dict"},
    "at_s": {"type": "float", "required": True},
    "quiet": {"type": "dict"},
    "epoch": {"type": "list", "elements": "str"},
    "labels": {"type": "dict"},
}
ALERT = {
    "name": {"type": "str", "required": True},
    "labels": {"type": "dict"},
    "of_service": {"type": "bool", "default": False},
    "mode": {"type": "str"},
    "hold_s": {"type": "float", "default": 0},
    "synthetic": {"type": "dict", "options": SYNTHETIC},
    "undrilled": {"type": "str"},
    "always": {"type": "bool", "default": False},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "profile": profile_argument(),
            "alerts": {"type": "list", "elements": "dict", "options": ALERT},
            "only": {"type": "list", "elements": "str", "default": []},
            "confirm": {"type": "str"},
            "state_dir": {"type": "path", "required": True},
            "run_id": {"type": "str", "default": ""},
            "factor": {"type": "float", "default": 0.05},
            "fire_seconds": {"type": "float", "default": 90},
            "over_seconds": {"type": "float", "default": 330},
            "dead_man_seconds": {"type": "float", "default": 30},
            "prometheus_program": {"type": "path"},
            "receiver": {"type": "str"},
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
    plans = read_plans(params["alerts"] or [])
    request = DrillRequest(
        only=tuple(params["only"]),
        run_id=params["run_id"],
        factor=params["factor"],
        fire_s=params["fire_seconds"],
        over_s=params["over_seconds"],
        dead_man_s=params["dead_man_seconds"],
        program=params["prometheus_program"],
        receiver=params["receiver"],
    )
    if module.check_mode:
        return {"changed": True, "plan": plan_drill(profile, plans, request)}
    require_confirmed(profile, params["confirm"], "a drill of alerts")
    progress_file = Path(params["progress_file"]) if params["progress_file"] else None
    result = drill(profile, plans, request, Path(params["state_dir"]), progress_file)
    for earlier in result["undone_before"]:
        module.warn(f"an earlier run had left this, which was undone first: {earlier}")
    return {"changed": True, "drill": result}


if __name__ == "__main__":
    main()
