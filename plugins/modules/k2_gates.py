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
    choices: [S0, S1, S2, S3, S4, S5]
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
      - For V(S1), C(load) names one load. C(loads) is a list of what M(k2.hardening.k2_load) returned as C(load), by
        load host (empty where nothing was sent), C(latency) that of M(k2.hardening.k2_latency), and C(audit), at the
        highest load, that of M(k2.hardening.k2_tier_audit). C(skipped) instead is the reason why nothing was measured
        at this load, and C(failed) what went wrong when it was tried.
      - For V(S2), C(collected) is what M(k2.hardening.k2_resources) returned as C(collected), C(files) its files
        on the controller by kind, and C(loads) what M(k2.hardening.k2_load) returned of a load meanwhile (empty for
        natural traffic). C(skipped) instead is the reason why nothing was sampled, and C(failed) what went wrong.
      - For V(S3), C(mode) names a failure mode. C(failures) is a list of what M(k2.hardening.k2_kill_and_measure)
        returned as C(failure), at least one for each service of the mode, C(loads) what M(k2.hardening.k2_load)
        returned of the load that ran through them, and C(audit) that of M(k2.hardening.k2_tier_audit) over it. Instead,
        C(unselected) is the reason why nobody chose the mode for this run, which then blocks nothing; C(skipped) any
        other reason why it was not run; C(failed) what went wrong when it was tried. These may be said of several
        modes at once, a list C(modes) instead of C(mode). C(unmeasured) has the reasons by service where it could not
        be broken, and C(unaudited) the reason why there is no C(audit).
      - Also for V(S3), C(crashes) is such a list of crashes that follow from C(k2_services), with C(loads) and C(audit)
        over all of them.
      - For V(S4), C(drill) is what M(k2.hardening.k2_alert_drill) returned of that name; C(drill_skipped) instead is
        the reason why there was no drill, and C(drill_failed) what went wrong when it was tried. Also decides when
        alerts told of the failure modes that the drill held, gates C(S3.<mode>.detection).
      - Also for V(S4), C(coverage=true) decides whether every failure mode has an alert, a panel and a runbook.
      - Also for V(S3), C(mttr=true) decides the gates over the whole step, after all others, with C(audit_all) over all
        of it.
      - For V(S4), C(prometheus) and C(alertmanager) are the results of M(k2.hardening.k2_monitoring_info) for each.
        C(grafana) has C(expected), what the lookup P(k2.hardening.dashboards#lookup) built, C(deployed), the
        C(dashboards) that M(k2.hardening.k2_grafana) returned, C(looked), the result of
        M(k2.hardening.k2_dashboard_info), or C(error), why that could not look, and C(source_uid).
        C(monitoring_skipped) instead of all these is the reason why nothing was deployed.
      - For V(S5), C(runbook) names a runbook and C(trial) is what M(k2.hardening.k2_runbook_test) returned of it.
        Instead, a list C(runbooks) with the reason why they were not followed, C(unselected), C(skipped) or C(failed)
        as for V(S3).
      - For V(S5), C(sign_off=true) decides C(S5.documents) over the documents that are rendered by then, and
        C(S5.signoff) over all gates of the run.
    type: dict
    required: true
  baseline:
    description: A C(baseline.json) of an earlier run's report, to compare p99s with; for V(S1).
    type: path
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

- name: Decide the gates of one failure mode
  k2.hardening.k2_gates:
    step: S3
    run_dir: "{{ k2_run.run_dir }}"
    profile: "{{ k2_profile }}"
    facts:
      mode: broker_restart
      failures: "{{ broken.results | map(attribute='failure') | list }}"
      loads: ["{{ sent.load }}"]
      audit: "{{ audited.audit }}"

- name: Say that a failure mode was not chosen for this run
  k2.hardening.k2_gates:
    step: S3
    run_dir: "{{ k2_run.run_dir }}"
    profile: "{{ k2_profile }}"
    facts: {modes: [offload_down, offload_killed], unselected: not among k2_failure_modes_only}

- name: Decide the gates over all failure modes
  k2.hardening.k2_gates:
    step: S3
    run_dir: "{{ k2_run.run_dir }}"
    profile: "{{ k2_profile }}"
    facts: {mttr: true, audit_all: "{{ audited.audit }}"}
"""

RETURN = r"""
gates:
  description: The gates as entered in C(results.json).
  returned: success
  type: list
  elements: dict
blocking_failures:
  description: Ids of the blocking gates that failed.
  returned: success
  type: list
  elements: str
"""
