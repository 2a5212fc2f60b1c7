# SPDX-License-Identifier: Apache-2.0
# This module has an action plugin of the same name and does nothing by itself: gates are decided on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
---
module: k2_gates
short_description: Decide the gates of a step from what was measured
version_added: "0.1.0"
description:
  - Compares measurements with the targets of the profile, writes C(evidence/<gate id>.json) for each gate and enters
    it in C(results.json).
  - A gate that does not pass is data here, not a failure of the task; ending the run decides what fails the play.
author:
  - The k2.hardening authors (@k2-hardening)
options:
  step:
    description: The step whose gates are decided.
    type: str
    required: true
    choices: [S0]
  run_dir:
    description: The run that the gates belong to, from M(k2.hardening.k2_run).
    type: path
    required: true
  profile:
    description: The platform's profile, as returned by the lookup P(k2.hardening.profile#lookup).
    type: dict
    required: true
  facts:
    description:
      - What was measured.
      - For V(S0), C(stack) is the result of M(k2.hardening.k2_stack_info) and C(preflight) that of
        M(k2.hardening.k2_preflight_info).
    type: dict
    required: true
attributes:
  check_mode:
    support: full
    description: Nothing is decided or written.
  diff_mode:
    support: none
    description: Evidence is written as a whole.
  idempotent:
    support: partial
    details: The same measurements give the same verdicts; the time of recording differs.
    description: Deciding again replaces the evidence.
"""

EXAMPLES = r"""
- name: Decide the preflight gates
  k2.hardening.k2_gates:
    step: S0
    run_dir: "{{ k2_run.run_dir }}"
    profile: "{{ k2_profile }}"
    facts:
      stack: "{{ stack }}"
      preflight: "{{ preflight }}"
"""

RETURN = r"""
gates:
  description: The gates as entered in C(results.json).
  returned: success
  type: list
  elements: dict
"""
