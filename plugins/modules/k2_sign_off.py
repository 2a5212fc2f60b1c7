# SPDX-License-Identifier: Apache-2.0
# This module has an action plugin of the same name and does nothing by itself: runs are signed off on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
---
module: k2_sign_off
short_description: Sign a run off by a tag in the platform's repository
version_added: "0.1.0"
description:
  - Makes an annotated tag at the commit that is checked out, when the run is a full-scale one and every blocking gate
    of it is PASS. The message names the run and holds the digests of its results and its report.
  - Otherwise it fails with the whole list of what is missing, and touches nothing.
  - Refuses a checkout with changes that no commit holds, a commit that is younger than the run, and a tag of that name
    that is there already, unless it is this very sign-off.
  - Runs on the controller.
author:
  - The k2.hardening authors (@k2-hardening)
options:
  run_dir:
    description: The run to sign off.
    type: path
    required: true
  repository:
    description: A checkout of the platform's git repository, on the controller.
    type: path
    required: true
  tag:
    description: Name of the tag.
    type: str
    default: v2-phase-7-complete
  push:
    description: Whether to push the tag, alone and without force, to O(remote).
    type: bool
    default: false
  remote:
    description: Where to push to with O(push=true).
    type: str
    default: origin
attributes:
  check_mode:
    support: full
    description: Says what it would do, or what is missing; makes no tag.
  diff_mode:
    support: none
    description: The message is returned as a whole.
  idempotent:
    support: full
    description: Signing the same run off again at the same commit changes nothing.
"""

EXAMPLES = r"""
- name: Sign the newest run off
  k2.hardening.k2_sign_off:
    run_dir: artifacts/latest
    repository: /srv/k2-platform

- name: Sign it off and tell the others
  k2.hardening.k2_sign_off:
    run_dir: artifacts/latest
    repository: /srv/k2-platform
    push: true
    remote: origin
"""

RETURN = r"""
tag:
  description: Name of the tag.
  returned: success
  type: str
  sample: v2-phase-7-complete
commit:
  description: The commit that carries it.
  returned: success
  type: str
message:
  description: The tag's message.
  returned: success
  type: str
pushed:
  description: Whether it was pushed now.
  returned: success
  type: bool
missing:
  description: Everything that keeps the run from being signed off.
  returned: success and when refused
  type: list
  elements: str
"""
