# SPDX-License-Identifier: Apache-2.0
# This module has an action plugin of the same name and does nothing by itself: reports are rendered on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
---
module: k2_report
short_description: Render the report of a run from its evidence
version_added: "0.1.0"
description:
  - Writes C(report/index.html), C(report/report.md), C(report/PROGRESS.md), C(report/junit.xml) and
    C(report/baseline.json) of a run, each as a whole, and none where the run is incomplete or mixed with another.
  - Reads nothing but the run's own files, so any run can be rendered again later.
author:
  - The k2.hardening authors (@k2-hardening)
options:
  run_dir:
    description: The run to render.
    type: path
    required: true
attributes:
  check_mode:
    support: full
    description: Nothing is rendered.
  diff_mode:
    support: none
    description: A report is rendered as a whole.
  idempotent:
    support: full
    description: The same evidence gives the same report.
"""

EXAMPLES = r"""
- name: Render the newest run again
  k2.hardening.k2_report:
    run_dir: artifacts/latest
"""

RETURN = r"""
files:
  description: The files written.
  returned: success
  type: list
  elements: str
"""
