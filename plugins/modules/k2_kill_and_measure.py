# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: k2_kill_and_measure
short_description: Break one service, measure the recovery as an interval, and leave the platform as it was
version_added: "0.1.0"
description:
  - Brings about one failure mode of O(profile.k2_failure_modes) on one of its services, or a crash that follows from
    O(profile.k2_services).
  - Every process, service and flow of records is looked at again and again, each at its own cadence, by
    C(CLOCK_MONOTONIC) of the target. From the looks follow bounds, for how long something was out and when it was back;
    what lies between two looks is never guessed.
  - Nothing is touched before the platform is steady, the undo is on disk and a watchdog is up that carries it out when
    this module dies, hangs or loses its connection.
  - What earlier runs have left is undone first. One run at a time works on a platform.
  - Whether the recovery was good enough is not decided here but by M(k2.hardening.k2_gates).
  - Records are accounted for by M(k2.hardening.k2_load) and M(k2.hardening.k2_tier_audit), around this module.
author:
  - The k2.hardening authors (@k2-hardening)
extends_documentation_fragment:
  - k2.hardening.profile
options:
  mode:
    description: The failure mode, or C(crash_) with the name of a service that restarts by itself.
    type: str
    required: true
  service:
    description: Which service of the mode. Required where the mode has several.
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
  steady_seconds:
    description: How long everything is watched before the fault, at least. From this is learnt what freshness is usual.
    type: float
    default: 5
  steady_timeout:
    description: Seconds until everything has to be well. Otherwise nothing is broken, and the module fails.
    type: float
    default: 60
  settle_seconds:
    description:
      - How long something has to be up to have come to stay, besides five looks in a row.
      - Two flush intervals of the platform or more.
    type: float
    default: 2
  watch_seconds:
    description:
      - How long recovery is watched for, once the fault is proven and, where it is held, ended.
      - By default half a minute more than C(max_recovery_s) of the mode.
    type: float
  run_timeout:
    description: For a mode that hits a run of the orchestrator, the seconds until one has to be at work.
    type: float
    default: 180
  ask_for_run:
    description:
      - For a mode that recovers with the next run, whether the orchestrator is asked for runs instead of waiting for
        its schedule. The result tells which were asked for.
    type: bool
    default: false
  progress_file:
    description: File that receives progress events, one JSON object per line.
    type: path
attributes:
  check_mode:
    support: full
    description: Returns the plan, and why it could not be carried out just now. Looks at the unit, touches nothing.
  diff_mode:
    support: none
    description: What is changed is put back.
  idempotent:
    support: none
    description: Each call breaks the service once more.
requirements:
  - Python 3.9 or later on the target
  - confluent-kafka for that Python, where the mode recovers when the backlog is drained
  - psycopg for that Python, where it recovers with the next run
  - root, or the user of the services, for signals; root for containers and packet filters
notes:
  - Fails before anything is touched where the mode, the service or the confirmation is wrong, the target is not in the
    allow-list (C(allow_faults)), another run is at work, the platform is not steady, the journal cannot be written, or
    the fault is not possible here.
  - Afterwards it does not fail. C(failure.problems) and C(failure.error) tell what keeps the result from meaning
    anything, and C(failure.restored) what is not as it was.
seealso:
  - module: k2.hardening.k2_undo
"""

EXAMPLES = r"""
- name: See what a restart of the broker would be
  k2.hardening.k2_kill_and_measure:
    profile: "{{ lookup('k2.hardening.profile') }}"
    mode: broker_restart
    state_dir: /var/lib/k2-hardening
  check_mode: true
  register: planned

- name: Restart the broker and measure
  k2.hardening.k2_kill_and_measure:
    profile: "{{ lookup('k2.hardening.profile') }}"
    mode: broker_restart
    confirm: "{{ k2_confirm }}"
    state_dir: /var/lib/k2-hardening
  register: broken

- name: Crash each feed handler in turn
  k2.hardening.k2_kill_and_measure:
    profile: "{{ lookup('k2.hardening.profile') }}"
    mode: feed_handler_crash
    service: "{{ item }}"
    confirm: "{{ k2_confirm }}"
    state_dir: /var/lib/k2-hardening
  loop: [feed-handler-binance, feed-handler-kraken, feed-handler-coinbase]
"""

RETURN = r"""
plan:
  description: What would be done.
  returned: in check mode
  type: dict
  contains:
    mode:
      description: The failure mode; C(service) and C(unit) tell what is broken.
      type: str
    action:
      description: The exact act.
      type: str
    blast_radius:
      description: Whose work stops meanwhile.
      type: str
    undo:
      description: What puts it back.
      type: str
    needs_root:
      description: Whether only root can.
      type: bool
    expected_mechanism:
      description: What is meant to bring the service back.
      type: str
    duration_s:
      description: How long the fault is held; 0 for one that is over in an instant.
      type: float
    at_most_s:
      description: How long all of it takes at most. By then a watchdog undoes whatever is left.
      type: float
    expected:
      description: The targets of the mode, and whom it may hurt.
      type: dict
    obstacle:
      description: Why it could not be done just now; null if it could.
      type: str
failure:
  description: What one fault on one service came to. Spans are C([low, high]) in seconds from time zero.
  returned: success, not in check mode
  type: dict
  contains:
    mode:
      description: As asked for, as is C(service); C(unit), C(runtime), C(action) and C(plan) tell the rest.
      type: str
    n:
      description: How many times it was measured. A time to recover, not a mean.
      type: int
    zero:
      description: What times count from, V(injection) or V(heal).
      type: str
    started_us:
      description: >-
        When watching began, in microseconds since the epoch; C(baseline_start_ns) is the same by C(CLOCK_MONOTONIC).
      type: int
    injected:
      description: Readings of C(CLOCK_MONOTONIC) before and after the act; C(healed) is the same of its end.
      type: list
      elements: int
    proof:
      description: Whether the fault took effect, and what shows it.
      type: dict
      sample: {proven: true, what: "process 4711 is gone, process 4801 took its place"}
    mechanism:
      description: What brought the service back; null where it is not back, or not known.
      type: str
    lanes:
      description:
        - Each thing that was looked at, what the fault was allowed to do to it, its looks in milliseconds since
          watching began, and the outage that follows from them.
      type: list
      elements: dict
    t1_s:
      description: When what was broken first answered again.
      type: list
      elements: float
    t2_s:
      description: When all that the fault may touch was up to stay.
      type: list
      elements: float
    t3_s:
      description: When the backlog was worked off and records were as fresh as usual.
      type: list
      elements: float
    t4_s:
      description: When the cold tier had caught up.
      type: list
      elements: float
    recovery:
      description: The recovery by the mode's own measure; null where it was not seen.
      type: dict
      sample: {point: served, low_s: 1.14, high_s: 1.66}
    shorter_than_s:
      description: Where no look failed, how long it may have been out at most.
      type: float
    at_least_s:
      description: Until when it was certainly not back.
      type: float
    why:
      description: Why the recovery is not known.
      type: str
    detection:
      description:
        - When the service's health check showed the fault (C(health)), and which alerts fired since, with the seconds
          from the injection (C(alerts)).
      type: dict
    drain:
      description: The offsets that had to be reached, and whether they were; null where that is not asked.
      type: dict
    cold:
      description: What became of the cold tier's watermarks, runs and rows; null where that is not asked.
      type: dict
    restored:
      description: What differs from before (C(differences)).
      type: dict
    undone_by:
      description: Who ended the fault, V(tool) or V(watchdog); null where it is over by itself, or nobody could end it.
      type: str
    events:
      description:
        - What the runtimes themselves reported (C(seen), by service and time), subscribed to before the fault.
        - C(why) is why that may not be everything; empty when it is.
      type: dict
    steady_before:
      description: Whether all was well before, as C(steady_after) tells of afterwards.
      type: bool
    silence:
      description: The silence that kept people from being woken meanwhile, and why there is none.
      type: dict
    undone_before:
      description: What earlier runs had left broken, and was undone first.
      type: list
      elements: str
    problems:
      description: Why nothing follows from it.
      type: list
      elements: str
    error:
      description: What ended the measurement early.
      type: str
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.measure.failure.experiment import break_and_measure
from ansible_collections.k2.hardening.plugins.module_utils.measure.failure.request import FailureRequest, plan
from ansible_collections.k2.hardening.plugins.module_utils.profile.arguments import profile_argument
from ansible_collections.k2.hardening.plugins.module_utils.profile.confirm import require_confirmed
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "profile": profile_argument(),
            "mode": {"type": "str", "required": True},
            "service": {"type": "str"},
            "confirm": {"type": "str"},
            "state_dir": {"type": "path", "required": True},
            "run_id": {"type": "str", "default": ""},
            "steady_seconds": {"type": "float", "default": 5},
            "steady_timeout": {"type": "float", "default": 60},
            "settle_seconds": {"type": "float", "default": 2},
            "watch_seconds": {"type": "float"},
            "run_timeout": {"type": "float", "default": 180},
            "ask_for_run": {"type": "bool", "default": False},
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
    request = FailureRequest(
        mode=params["mode"],
        service=params["service"],
        run_id=params["run_id"],
        steady_s=params["steady_seconds"],
        steady_timeout_s=params["steady_timeout"],
        settle_s=params["settle_seconds"],
        watch_s=params["watch_seconds"],
        run_timeout_s=params["run_timeout"],
        ask_for_run=params["ask_for_run"],
    )
    if module.check_mode:
        return {"changed": True, "plan": plan(profile, request)}
    require_confirmed(profile, params["confirm"], "a fault")
    progress_file = Path(params["progress_file"]) if params["progress_file"] else None
    result = break_and_measure(profile, request, Path(params["state_dir"]), progress_file)
    for earlier in result.undone_before:
        module.warn(f"an earlier run had left this, which was undone first: {earlier}")
    return {"changed": True, "failure": result.to_plain()}


if __name__ == "__main__":
    main()
