# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: k2_undo
short_description: Put back what killed runs have left on the platform
version_added: "0.1.0"
description:
  - Each fault and each load has an entry in the undo journal on the target, open until all is as it was. This module
    undoes and closes the entries whose maker is dead, the newest first, and verifies where their steps say how.
  - A watchdog on the target does the same when the maker of a fault dies. This module is for what the watchdog could
    not undo, for what was open when the target went down, and for loads.
  - An entry that cannot be undone stays open and makes the module fail at its end, with what became of every entry.
  - Does nothing while another run works on the platform.
author:
  - The k2.hardening authors (@k2-hardening)
extends_documentation_fragment:
  - k2.hardening.profile
options:
  state_dir:
    description: Directory on the target below which the undo journal of each platform lies.
    type: path
    required: true
  force:
    description:
      - Undo also what a process has open that still runs, and do not mind another run. For a process that hangs.
      - Loads of a process that still runs are never ended.
    type: bool
    default: false
  timeout:
    description: Seconds to try each entry at most.
    type: int
    default: 120
attributes:
  check_mode:
    support: full
    description: Lists the entries and touches nothing.
  diff_mode:
    support: none
    description: What it changes is the platform's state.
  idempotent:
    support: full
    description: A second run finds nothing open.
requirements:
  - Python 3.9 or later on the target
notes:
  - Steps need the rights that the faults needed. Where those ran as root, this has to.
"""

EXAMPLES = r"""
- name: See what is open
  k2.hardening.k2_undo:
    profile: "{{ lookup('k2.hardening.profile') }}"
    state_dir: /var/lib/k2-hardening
  check_mode: true
  register: open

- name: Undo it
  k2.hardening.k2_undo:
    profile: "{{ lookup('k2.hardening.profile') }}"
    state_dir: /var/lib/k2-hardening
"""

RETURN = r"""
entries:
  description: Every entry of a fault that was open, the newest first.
  returned: success, and where an entry could not be undone
  type: list
  elements: dict
  contains:
    id:
      description: The entry's name in the journal.
      type: str
    run_id:
      description: The run that made the change.
      type: str
    target:
      description: What was changed.
      type: str
    action:
      description: The change.
      type: str
    undo:
      description: What undoes it, in words.
      type: str
    opened:
      description: When the entry was written, just before the change.
      type: str
    pid:
      description: The process that made the change; null in entries of earlier releases.
      type: int
    state:
      description: >-
        V(undone); V(left), in check mode, what would be tried; V(failed); or V(refused), its maker still runs.
      type: str
    why:
      description: Why it is not undone; with V(left), why an earlier attempt failed.
      type: str
    steps:
      description: What was done, whether it succeeded, after how many attempts, and what was seen.
      type: list
      elements: dict
      sample: [{what: "POST /RPC2 on /run/s.sock", ok: true, attempts: 1, seen: "200"}]
loads:
  description: Loads that a killed run had left, and that were ended (in check mode, that would be).
  returned: success, and where an entry could not be undone
  type: list
  elements: str
"""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.fault.journal import Journal
from ansible_collections.k2.hardening.plugins.module_utils.fault.lock import PlatformLock
from ansible_collections.k2.hardening.plugins.module_utils.fault.undo import State, undo_left
from ansible_collections.k2.hardening.plugins.module_utils.measure.load.leftover import end_left_loads
from ansible_collections.k2.hardening.plugins.module_utils.profile.arguments import profile_argument
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "profile": profile_argument(),
            "state_dir": {"type": "path", "required": True},
            "force": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    try:
        wrong, answer = _undo(module)
    except K2Error as error:
        module.fail_json(msg=str(error), **error.as_dict())
    if wrong:
        module.fail_json(msg="not all is undone: " + "; ".join(wrong), **answer)
    module.exit_json(**answer)


def _undo(module: AnsibleModule) -> tuple[list[str], dict[str, Any]]:
    """What is wrong, and what is told in either case."""
    params = module.params
    directory = Path(params["state_dir"]) / parse_profile(params["profile"]).platform.name
    journal = Journal(directory / "undo")
    # No state, nothing to undo: a lock would only make a directory.
    free = module.check_mode or params["force"] or not journal.path.exists()
    with nullcontext() if free else PlatformLock(directory, "k2_undo"):
        done = undo_left(
            journal, only_look=module.check_mode, force=params["force"], timeout_s=float(params["timeout"])
        )
        tried = [] if module.check_mode else [each for each in done if each.state in (State.FAILED, State.REFUSED)]
        wrong = [f"{each.entry.action} of {each.entry.target}: {each.why}" for each in tried]
        loads: tuple[str, ...] = ()
        try:
            loads = end_left_loads(journal, only_look=module.check_mode)
        except K2Error as error:
            wrong.append(f"loads: {error}")
    changed = bool(loads) or any(each.state in (State.UNDONE, State.LEFT) for each in done)
    return wrong, {"changed": changed, "entries": [each.to_plain() for each in done], "loads": list(loads)}


if __name__ == "__main__":
    main()
