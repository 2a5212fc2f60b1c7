#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Ansible module k2_stack_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k2_stack_info
short_description: Tell the state of every service of a platform
version_added: 0.1.0
description:
  - Looks at all services of a profile at the same time, through the runtime of each and the service's own probe.
  - A service that is down is data, not a failure of the task; what would start it is part of the answer.
  - A service that the profile says is not available is listed with the reason, and is not looked at.
  - The target's clocks are read at the first and the last moment, so that the caller can bound their skew.
author:
  - The k2.hardening authors (!UNKNOWN)
extends_documentation_fragment:
  - k2.hardening.profile
attributes:
  check_mode:
    description: Can run in check mode and return the same as without it.
    support: full
    details: The module only reads.
  diff_mode:
    description: Returns what has changed, or would change, in diff format.
    support: none
    details: The module changes nothing.
  idempotent:
    description: Running it twice with the same parameters leaves the target as running it once.
    support: full
    details: The module only reads; what it returns differs from moment to moment.
options:
  sample_seconds:
    description:
      - CPU use is the mean over this window; V(0) leaves it out.
    type: float
    default: 1.0
  timeout:
    description:
      - Seconds after which one inspection ends with what is known by then.
    type: float
    default: 30.0
  wait_for_ready:
    description:
      - Repeat until every service that can be had is ready, or until this many seconds have passed.
      - The last answer is returned either way; see RV(all_ready).
    type: float
    default: 0.0
notes:
  - Memory of services that run as another user needs root on the target, that is C(become=true).
requirements:
  - python >= 3.9 on the target, its standard library only
"""

EXAMPLES = r"""
- name: Tell the state of the platform
  k2.hardening.k2_stack_info:
    profile: "{{ lookup('k2.hardening.profile') }}"
  register: stack

- name: Wait up to a minute for every service
  k2.hardening.k2_stack_info:
    profile: "{{ lookup('k2.hardening.profile') }}"
    wait_for_ready: 60
  register: stack
  failed_when: not stack.all_ready
"""

RETURN = r"""
all_ready:
  description:
    - Whether every service runs and answers its probe. A service that is not available does not.
    - Whether all that can be had is ready is told by an empty RV(not_ready).
  returned: success
  type: bool
  sample: true
not_ready:
  description: Names of the services that could be ready and are not.
  returned: success
  type: list
  elements: str
  sample: []
not_available:
  description: Names of the services that this installation cannot have, each with the reason.
  returned: success
  type: dict
  sample: {}
attempts:
  description: How many inspections it took; more than one only with O(wait_for_ready).
  returned: success
  type: int
  sample: 1
digest:
  description: The profile's digest, without its secrets.
  returned: success
  type: str
  sample: "sha256:3fb94d0ba9c05708300e218501a11385bfa99b18bffa2888f538fe3dc7e8e2da"
findings:
  description: Contradictions within the profile, such as a budget above its limit.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: Where in the profile.
      type: str
    text:
      description: What contradicts what.
      type: str
clock:
  description: The target's clocks at the start and at the end of the inspection.
  returned: success
  type: dict
  contains:
    start:
      description: The first reading.
      type: dict
      contains:
        utc_us:
          description: Microseconds since the epoch.
          type: int
        utc:
          description: The same as RFC 3339.
          type: str
        monotonic_ns:
          description: CLOCK_MONOTONIC in nanoseconds.
          type: int
        boot_id:
          description: The boot within which monotonic readings may be compared.
          type: str
    end:
      description: The last reading, with the same keys.
      type: dict
services:
  description: The services by name.
  returned: success
  type: dict
  contains:
    state:
      description: State in the runtime's eyes; V(not available) where the profile says so.
      type: str
      sample: running
    ready:
      description: Whether it runs and its probe succeeds.
      type: bool
    pid:
      description: The host's pid of the main process, or null.
      type: int
    uptime_s:
      description: Seconds since the main process started, or null.
      type: float
    restarts:
      description: Restarts by the runtime itself, as far back as it remembers, or null.
      type: int
    cpu_cores:
      description: Mean CPU use over the window in cores, or null.
      type: float
    memory_bytes:
      description: Memory now, or null.
      type: int
    memory_kind:
      description: V(pss) of processes or V(working_set) of a container.
      type: str
    oom_kills:
      description: OOM kills in the container's cgroup, or null where the runtime cannot know.
      type: int
    port:
      description: The service's port as the profile has it.
      type: int
    probe:
      description: Answer of the probe, or null where the profile has none.
      type: dict
      contains:
        ok:
          description: Whether it succeeded.
          type: bool
        latency_ms:
          description: How long it took in milliseconds.
          type: float
        detail:
          description: What was seen.
          type: str
    start_command:
      description: The shell command that would start the service.
      type: str
    problem:
      description: Why figures are missing or the service is not running; empty if nothing is wrong.
      type: str
    not_available:
      description: Why this installation cannot have the service, or null.
      type: str
"""

from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.platform.stack import inspect_stack
from ansible_collections.k2.hardening.plugins.module_utils.profile.arguments import profile_argument
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile
from ansible_collections.k2.hardening.plugins.module_utils.profile.references import contradictions


def main() -> None:
    """Parameters in, facade, result out."""
    module = AnsibleModule(
        argument_spec={
            "profile": profile_argument(),
            "sample_seconds": {"type": "float", "default": 1.0},
            "timeout": {"type": "float", "default": 30.0},
            "wait_for_ready": {"type": "float", "default": 0.0},
        },
        supports_check_mode=True,
    )
    try:
        profile = parse_profile(module.params["profile"])
        stack = inspect_stack(
            profile,
            sample_s=module.params["sample_seconds"],
            timeout_s=module.params["timeout"],
            wait_for_ready_s=module.params["wait_for_ready"],
        )
    except K2Error as error:
        module.fail_json(msg=str(error), **error.as_dict())
    module.exit_json(
        changed=False,
        digest=profile.digest(),
        findings=[asdict(finding) for finding in contradictions(profile)],
        **stack.as_dict(),
    )


if __name__ == "__main__":
    main()
