# SPDX-License-Identifier: Apache-2.0
# This module has an action plugin of the same name and does nothing by itself: runs are recorded on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
---
module: k2_run
short_description: Begin or end a recorded run
version_added: "0.1.0"
description:
  - Makes C(artifacts/<run_id>/) with a C(results.json) that lists every gate of the profile from its first second,
    and closes it with the run's verdict.
  - Runs on the controller. A run left behind by a process that died is closed as interrupted by the next run.
author:
  - The k2.hardening authors (@k2-hardening)
options:
  state:
    description:
      - C(started) makes a run; C(finished) closes it; C(error) closes it because something could not be done.
    type: str
    required: true
    choices: [started, finished, error]
  profile:
    description:
      - The platform's profile, as returned by the lookup P(k2.hardening.profile#lookup).
      - Required when starting.
    type: dict
  artifacts_dir:
    description: Directory that holds the runs. Required when starting.
    type: path
  inventory:
    description: Name of the inventory, for the record.
    type: str
    default: ""
  quick:
    description: Whether the run is a shortened one.
    type: bool
    default: false
  steps:
    description: The steps that the play has, of which tags may select some; all by default.
    type: list
    elements: str
  run_dir:
    description: The run to end, as returned by O(state=started).
    type: path
  error:
    description: What could not be done. Required with O(state=error).
    type: str
attributes:
  check_mode:
    support: full
    description: No run is recorded.
  diff_mode:
    support: none
    description: A run is a new directory each time.
  idempotent:
    support: partial
    details: Ending a run that has ended changes nothing; starting always makes a new run.
    description: A second start is a second run.
"""

EXAMPLES = r"""
- name: Begin a run
  k2.hardening.k2_run:
    state: started
    profile: "{{ lookup('k2.hardening.profile') }}"
    artifacts_dir: artifacts
  register: k2_run

- name: End it
  k2.hardening.k2_run:
    state: finished
    run_dir: "{{ k2_run.run_dir }}"
"""

RETURN = r"""
run_id:
  description: Id of the run, when started.
  returned: when started
  type: str
  sample: 20260219T101500Z-1f0c9a
run_dir:
  description: Absolute path of the run's directory.
  returned: when started
  type: str
steps:
  description: Steps that the tags of this invocation select.
  returned: when started
  type: list
  elements: str
verdict:
  description: Verdict of the run over its blocking gates.
  returned: when ended
  type: str
  sample: PASS
gates:
  description: Every gate, as in C(results.json).
  returned: when ended
  type: list
  elements: dict
summary:
  description: One line per gate.
  returned: when ended
  type: list
  elements: str
"""
