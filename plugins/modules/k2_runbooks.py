# SPDX-License-Identifier: Apache-2.0
# This module has an action plugin of the same name and does nothing by itself: all happens on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
---
module: k2_runbooks
short_description: Render runbooks, the on-call guide and the architecture page of a platform
version_added: "0.1.0"
description:
  - Writes one runbook as Markdown for each failure mode of C(k2_failure_modes), for stalled candles, for a
    kill for
    want of memory and for any other service that is down, an on-call guide, and an architecture page.
  - Commands are those of the runtime that runs the services, with the profile's own names, ports and tables.
  - Measured numbers come from the evidence of runs, the newest first, each with the run that it comes from. What was
    never
    measured is said to be so.
  - Each runbook is read back as M(k2.hardening.k2_runbook_test) reads it; one that could not be followed is an error.
author:
  - The k2.hardening authors (@k2-hardening)
options:
  profile:
    description: The platform's profile, as returned by the lookup P(k2.hardening.profile#lookup).
    type: dict
    required: true
  directory:
    description: Where the pages are written, on the controller. Other Markdown in it is removed.
    type: path
    required: true
  run_dir:
    description: The run that the documents are made for, whose numbers come first.
    type: path
  artifacts_dir:
    description: Where runs are kept; numbers come from those against the same platform.
    type: path
    required: true
  state_dir:
    description: Directory on the target that holds the undo journal, to be named in the on-call guide.
    type: path
    required: true
  templates:
    description:
      - Directory with templates to use instead of those of role C(runbooks), with C(files/worker.js) beside it for
        the site.
    type: path
  site:
    description:
      - Whether the pages are also made a static site, in C(site) beside O(directory).
      - Takes the Python packages mkdocs and mkdocs-material on the controller; without them there is a warning, and
        no site.
    type: bool
    default: true
attributes:
  check_mode:
    support: full
    description: Nothing is written; what would change is told.
  diff_mode:
    support: none
    description: The names of files that change are returned.
  idempotent:
    support: full
    description: The same profile and evidence give the same files, which are not written again.
seealso:
  - module: k2.hardening.k2_runbook_test
"""

EXAMPLES = r"""
- name: Render the runbooks of the newest run
  k2.hardening.k2_runbooks:
    profile: "{{ lookup('k2.hardening.profile') }}"
    directory: artifacts/latest/report/runbooks
    run_dir: artifacts/latest
    artifacts_dir: artifacts
    state_dir: /var/lib/k2-hardening
"""

RETURN = r"""
files:
  description: The files that changed.
  returned: success
  type: list
  elements: str
runbooks:
  description: The runbooks that belong to failure modes, in the order of the profile.
  returned: success
  type: list
  elements: dict
  contains:
    mode:
      description: Its name.
      type: str
    services:
      description: The services that may be broken to test it.
      type: list
      elements: str
    not_applicable:
      description: Why the platform cannot have this failure, or it cannot be brought about; null if it can.
      type: str
    path:
      description: The page.
      type: str
site:
  description: The first page of the site; null without one.
  returned: success
  type: str
"""
