# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: k2_resources
short_description: Sample what services use, for minutes or for days
version_added: "0.4.0"
description:
  - Starts a sampler on the target that looks at CPU, memory, file descriptors, threads, restarts and OOM kills of every
    service, and at the size of directories, until its window is over. It is a process of its own, installed as files,
    so it outlives this module, Ansible and a logout; a guard starts it again when it is killed.
  - After a reboot, or when guard and sampler were killed, O(state=started) goes on with the same window. What is
    missing is told as a hole.
  - Samples are CSV files with a header, one set per UTC day, appended and synced at each look. Counters are kept as
    they stand, and every sample is kept.
  - Of services under supervisord the process tree counts, with PSS as memory; of containers and of units of systemd
    the cgroup, with the working set (usage without inactive page cache) as memory.
author:
  - The k2.hardening authors (@k2-hardening)
extends_documentation_fragment:
  - k2.hardening.profile
options:
  state:
    description:
      - V(snapshot) looks once, and keeps nothing.
      - V(started) has the window sampled. Does nothing where a sampler is at work, goes on with a window whose sampler
        died, and otherwise begins a new one, keeping the last under the name of its start.
      - V(status) tells how the window stands.
      - V(stopped) ends the window before its time.
      - V(collected) packs the samples into compressed files on the target, and tells what else went on meanwhile. The
        window goes on, if it is not over.
    type: str
    choices: [snapshot, started, status, stopped, collected]
    required: true
  state_dir:
    description:
      - Directory on the target that keeps what outlives a run; windows lie in C(<platform>/resources/<window>/) below
        it, beside the undo journal.
      - Needed for all but O(state=snapshot).
    type: path
  window:
    description: Name of the window. Windows of different names are sampled side by side.
    type: str
    default: burn-in
  seconds:
    description: How long a new window lasts.
    type: float
    default: 86400
  interval:
    description: Seconds between two looks of a new window.
    type: float
    default: 5
  services:
    description: Services to look at; all that are available when empty.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    support: full
    description: Starts, stops and packs nothing; tells what would be done.
  diff_mode:
    support: none
    description: Changes no file that anybody else wrote.
  idempotent:
    support: full
    details: A second V(started) or V(stopped) changes nothing.
    description: Says so when a window runs already, or is over.
requirements:
  - Python 3.9 or later on the target
  - the right to read the services' processes or cgroups, which is root's (C(become=true)) unless they are one's own
"""

EXAMPLES = r"""
- name: Begin a burn-in of a day
  k2.hardening.k2_resources:
    profile: "{{ lookup('k2.hardening.profile') }}"
    state: started
    state_dir: /var/lib/k2-hardening
  become: true

- name: See how far it is
  k2.hardening.k2_resources:
    profile: "{{ lookup('k2.hardening.profile') }}"
    state: status
    state_dir: /var/lib/k2-hardening
  register: burn_in

- name: Collect it
  k2.hardening.k2_resources:
    profile: "{{ lookup('k2.hardening.profile') }}"
    state: collected
    state_dir: /var/lib/k2-hardening
  register: collected
"""

RETURN = r"""
snapshot:
  description: What each service uses, by service below C(services), and the C(time) of the look.
  returned: when state is snapshot
  type: dict
  contains:
    time:
      description: When, UTC.
      type: str
    services:
      description:
        - By service C(state), C(cpu_cores), C(memory_bytes), C(memory_kind) (C(pss) or C(working_set)), C(processes),
          C(threads), C(fds), C(restarts), and C(limit_cpus) and C(limit_memory_bytes) as the runtime enforces them.
        - What could not be read is null, and C(why) says so.
      type: dict
message:
  description: What was done.
  returned: when state is started
  type: str
  sample: a window began
standing:
  description: How the window stands.
  returned: when state is started, status or stopped
  type: dict
  contains:
    state:
      description: One of V(none), V(running), V(died), V(finished), V(stopped).
      type: str
    text:
      description: The same for people.
      type: str
    window:
      description: Its directory on the target.
      type: str
    started:
      description: When it began, UTC.
      type: str
    seconds:
      description: How long it is to last.
      type: float
    interval_s:
      description: Seconds between two looks.
      type: float
    passed_s:
      description: How much of it the last look was at.
      type: float
    ticks:
      description: Looks so far.
      type: int
    silent_s:
      description: Seconds since the last look, where the window is not over.
      type: float
    holes:
      description: Stretches without looks, at C(at_s) of the window, C(missing_s) long, and whether with a C(reboot).
      type: list
      elements: dict
    pid:
      description: The sampler, where it runs.
      type: int
    sampler_cores:
      description: CPU that the sampler itself uses, in cores.
      type: float
    sampler_memory_bytes:
      description: The most memory (PSS) that it used.
      type: int
collected:
  description: All that is needed to decide the gates of step S2.
  returned: when state is collected
  type: dict
  contains:
    window:
      description: Its plan, its start and end, the snapshot at its start, and how it stands.
      type: dict
    files:
      description: Compressed CSV files on the target by kind (C(services), C(ticks), C(disks)); none in check mode.
      type: dict
    planned:
      description: Planned faults in the undo journal since the window began.
      type: list
      elements: dict
    planned_error:
      description: Why the journal could not be read; empty if it could.
      type: str
    runs:
      description: Runs of the orchestrator's deployments since the window began.
      type: list
      elements: dict
    runs_error:
      description: Why some may be missing; empty if none can be.
      type: str
    traffic:
      description: Records that came in meanwhile, in all and by stretches.
      type: dict
"""

import re
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.measure.resources.control import (
    begin,
    collect,
    standing,
    stop,
)
from ansible_collections.k2.hardening.plugins.module_utils.measure.resources.home import Home
from ansible_collections.k2.hardening.plugins.module_utils.measure.resources.plan import plan_of
from ansible_collections.k2.hardening.plugins.module_utils.measure.resources.snapshot import take_snapshot
from ansible_collections.k2.hardening.plugins.module_utils.profile.arguments import profile_argument
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile

WINDOW_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "profile": profile_argument(),
            "state": {
                "type": "str",
                "required": True,
                "choices": ["snapshot", "started", "status", "stopped", "collected"],
            },
            "state_dir": {"type": "path"},
            "window": {"type": "str", "default": "burn-in"},
            "seconds": {"type": "float", "default": 86400},
            "interval": {"type": "float", "default": 5},
            "services": {"type": "list", "elements": "str", "default": []},
        },
        required_if=[("state", state, ("state_dir",)) for state in ("started", "status", "stopped", "collected")],
        supports_check_mode=True,
    )
    try:
        answer = _answer(module.params, only_look=module.check_mode)
    except K2Error as error:
        module.fail_json(msg=str(error), **error.as_dict())
    module.exit_json(**answer)


def _answer(params: dict[str, Any], *, only_look: bool) -> dict[str, Any]:
    profile = parse_profile(params["profile"])
    if not WINDOW_NAME.match(params["window"]):
        raise K2Error("window is no name", expected="letters, digits and _ . -", seen=repr(params["window"]))
    plan = plan_of(profile, params["seconds"], params["interval"], params["services"])
    if params["state"] == "snapshot":
        return {"changed": False, "snapshot": take_snapshot(plan).to_plain()}
    platform = Path(params["state_dir"]) / profile.platform.name
    home = Home(platform / "resources" / params["window"])
    if params["state"] == "started":
        changed, stands, message = begin(home, plan, only_look=only_look)
        return {"changed": changed, "standing": stands.to_plain(), "message": message}
    if params["state"] == "stopped":
        changed, stands = stop(home, only_look=only_look)
        return {"changed": changed, "standing": stands.to_plain()}
    if params["state"] == "status":
        return {"changed": False, "standing": standing(home).to_plain()}
    collected = collect(home, profile, platform / "undo", only_look=only_look)
    return {"changed": not only_look, "collected": collected.to_plain()}


if __name__ == "__main__":
    main()
