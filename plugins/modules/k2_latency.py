# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: k2_latency
short_description: Measure how long records take from their start to the commit of their candles
version_added: "0.2.0"
description:
  - Takes the records that began within a window of time, which may lie in the future. Watches until the window
    is over, waits until all that entered is committed, cuts the warm-up and measures.
  - The path of a record begins at the exchange's time where the exchanges share the platform's clock, else at its
    receipt, and ends with the commit of its candles. Candles are those tiers of the profile that have a timeframe.
  - Reads column types first, and looks at the values. A time that is coarser than a twentieth of the target is refused,
    with its reason; a cell that cannot be measured says why and never shows a zero.
  - Aggregates inside ClickHouse, within limits of time and rows. Changes nothing.
author:
  - The k2.hardening authors (@k2-hardening)
extends_documentation_fragment:
  - k2.hardening.profile
options:
  window_start_us:
    description: Begin of the window, in microseconds since the epoch.
    type: int
    required: true
  window_end_us:
    description: End of the window, which does not belong to it, in microseconds since the epoch.
    type: int
    required: true
  target_ms:
    description: The target of the path in milliseconds, which decides how fine its times must be.
    type: float
    required: true
  commit_source:
    description:
      - Where commits are read from.
      - V(part_log) takes the parts of the candle tables from C(system.part_log), which is exact.
      - V(auto) takes the best there is.
    type: str
    choices: [auto, part_log, probe]
    default: auto
  drain_timeout:
    description: Seconds to wait at most, from the end of the window, until all is committed and logged.
    type: int
    default: 60
  cut_warm_up:
    description: Whether to cut the warm-up, by MSER-5.
    type: bool
    default: true
  query_timeout:
    description: Limit of one query in seconds.
    type: int
    default: 60
  max_rows_to_read:
    description: Rows that one query may read; one that would read more is refused.
    type: int
    default: 200000000
  cluster:
    description: Name of a ClickHouse cluster; the log is then read from all replicas.
    type: str
  progress_file:
    description: File that receives progress events, one JSON object per line.
    type: path
attributes:
  check_mode:
    support: full
    description: Changes nothing.
  diff_mode:
    support: none
    description: Changes nothing.
  idempotent:
    support: full
    description: Changes nothing.
requirements:
  - Python 3.9 or later on the target
"""

EXAMPLES = r"""
- name: Measure the last minute
  k2.hardening.k2_latency:
    profile: "{{ lookup('k2.hardening.profile') }}"
    window_start_us: "{{ (now(utc=true).timestamp() - 60) | int * 1000000 }}"
    window_end_us: "{{ now(utc=true).timestamp() | int * 1000000 }}"
    target_ms: 200
  register: measured
"""

RETURN = r"""
latency:
  description: What was measured.
  returned: success
  type: dict
"""

from dataclasses import asdict
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.measure.latency.measure import Wish, measure
from ansible_collections.k2.hardening.plugins.module_utils.measure.latency.model import Span
from ansible_collections.k2.hardening.plugins.module_utils.measure.latency.plan import CommitSource
from ansible_collections.k2.hardening.plugins.module_utils.measure.latency.session import Limits
from ansible_collections.k2.hardening.plugins.module_utils.profile.arguments import profile_argument
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "profile": profile_argument(),
            "window_start_us": {"type": "int", "required": True},
            "window_end_us": {"type": "int", "required": True},
            "target_ms": {"type": "float", "required": True},
            "commit_source": {"type": "str", "choices": ["auto", "part_log", "probe"], "default": "auto"},
            "drain_timeout": {"type": "int", "default": 60},
            "cut_warm_up": {"type": "bool", "default": True},
            "query_timeout": {"type": "int", "default": 60},
            "max_rows_to_read": {"type": "int", "default": 200_000_000},
            "cluster": {"type": "str"},
            "progress_file": {"type": "path"},
        },
        supports_check_mode=True,
    )
    params = module.params
    progress_file = Path(params["progress_file"]) if params["progress_file"] else None
    try:
        wish = Wish(
            window=Span(params["window_start_us"], params["window_end_us"]),
            target_ms=params["target_ms"],
            commit_source=CommitSource(params["commit_source"]),
            drain_timeout_s=params["drain_timeout"],
            limits=Limits(params["query_timeout"], params["max_rows_to_read"]),
            cluster=params["cluster"],
            cut_warm_up=params["cut_warm_up"],
        )
        latency = measure(parse_profile(params["profile"]), wish, progress_file)
    except K2Error as error:
        module.fail_json(msg=str(error), **error.as_dict())
    module.exit_json(changed=False, latency=asdict(latency))


if __name__ == "__main__":
    main()
