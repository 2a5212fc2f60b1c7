# SPDX-License-Identifier: Apache-2.0
# This module has an action plugin of the same name and does nothing by itself: runs are compared on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
---
module: k2_compare
short_description: Compare two runs gate by gate
version_added: "0.1.0"
description:
  - Renders C(compare-<earlier run>.html) and C(.md), and returns which gates are worse in the later run.
  - A gate is worse when its verdict is, or when the intervals of both measurements do not meet and 10 % lies between
    them. What is worse and blocks is a regression.
  - A regression is data here, not a failure of the task.
author:
  - The k2.hardening authors (@k2-hardening)
options:
  before:
    description: The earlier run.
    type: path
    required: true
  after:
    description: The later run.
    type: path
    required: true
  directory:
    description: Where to write the pages; C(report/) of the later run unless given.
    type: path
attributes:
  check_mode:
    support: full
    description: Compares, writes no page.
  diff_mode:
    support: none
    description: Pages are rendered as a whole.
  idempotent:
    support: full
    description: The same runs give the same pages.
"""

EXAMPLES = r"""
- name: Is the newest run worse than the one before the upgrade?
  k2.hardening.k2_compare:
    before: artifacts/20260219T101500Z-1f0c9a
    after: artifacts/latest
  register: compared
  failed_when: compared.regressions | length > 0
"""

RETURN = r"""
verdict:
  description: FAIL with a regression, INCONCLUSIVE where no gate was looked at by both runs, else PASS.
  returned: success
  type: str
  sample: PASS
regressions:
  description: Ids of the gates that are worse and block.
  returned: success
  type: list
  elements: str
summary:
  description: A line per change, and what else differs.
  returned: success
  type: list
  elements: str
files:
  description: The files written.
  returned: success
  type: list
  elements: str
"""
