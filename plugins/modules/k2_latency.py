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
  - Aggregates inside ClickHouse, within limits of time and rows. Changes nothing, unless O(canary) is asked for.
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
      - V(probe) asks the candle tables how many trades they count, at most ten times a second while the window lasts,
        and gives both bounds of what lies between two probes. It can tell nothing of a window that is over.
      - V(auto) takes C(system.part_log) where it can be read and knows the candle tables, else V(probe).
    type: str
    choices: [auto, part_log, probe]
    default: auto
  drain_timeout:
    description: Seconds to wait at most, from the end of the window, until all is committed and logged.
    type: int
    default: 60
  cut_warm_up:
    description:
      - Whether to cut the warm-up, by MSER-5.
      - It takes exact commits, so nothing is cut where candles are probed.
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
  canary:
    description:
      - Sends records of the symbol that C(k2_load.records) reserves to an exchange's raw topic while the window lasts,
        and asks the candle tables for them, ten times a second at most. One host's clock times all of it.
      - The window must not be over. What was written stays until M(k2.hardening.k2_load) with C(state=absent).
    type: dict
    suboptions:
      rate_per_s:
        description: Records per second, at random intervals; at most 5 % of the traffic of the 30 s before are sent.
        type: float
        required: true
      exchange:
        description: The exchange whose topic they go to.
        type: str
        required: true
      seconds:
        description: For how long; until the window is over where it is not given.
        type: float
  confirm:
    description: Name of the platform, said back; needed for O(canary).
    type: str
  state_dir:
    description: Directory of the undo journal on the target; needed for O(canary).
    type: path
attributes:
  check_mode:
    support: full
    description: Changes nothing, no canary is sent.
  diff_mode:
    support: none
    description: Changes no file.
  idempotent:
    support: partial
    description: Changes nothing but for O(canary), which sends its records each time.
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
  description: What was measured. Times in microseconds since the epoch end in C(_us).
  returned: success
  type: dict
  contains:
    window:
      description: The window, as C(start_us) and C(end_us).
      type: dict
    measured:
      description: What is left of it after the warm-up was cut.
      type: dict
    warm_up:
      description: How the warm-up was found, how many seconds were cut, and how many insert blocks that rests on.
      type: dict
      sample: {method: MSER-5, cut_s: 1.07, observations: 592}
    start:
      description: Where the path begins, and whether a verdict may rest on it.
      type: dict
      sample:
        moment: exchange
        tier: silver
        column: timestamp
        resolution_ms: 0.001
        gated: true
        why: the exchanges' times come from the platform's own clock
    end:
      description:
        - How commits were known.
        - C(source) is V(part_log), V(probe) or V(none); C(resolution_ms) is the longest time between two probes.
      type: dict
      sample: {source: part_log, resolution_ms: 0.001, why: commit of the parts of ohlcv_1m}
    refused:
      description: Columns that are too coarse for what was asked of them.
      type: list
      elements: dict
      sample:
        - moment: ingested
          tier: silver
          column: ingestion_timestamp
          type: DateTime64(6)
          resolution_ms: 1000.0
          needed_ms: 0.15
          reason: all values seen of binance are multiples of 1 s, it was padded from a coarser time
    cells:
      description: Each exchange, candle and segment.
      type: list
      elements: dict
      contains:
        kind:
          description: One of V(exchange), V(candle), V(segment).
          type: str
        name:
          description: Name of the exchange, tier or segment.
          type: str
        why:
          description: Why the cell cannot be used; null where it can.
          type: str
        n:
          description: Rows that were measured.
          type: int
        blocks:
          description: Insert blocks they came in; 0 where that is not known.
          type: int
        sum_squares:
          description: Sum over insert blocks of the squared number of rows, since rows of one block are dependent.
          type: int
        negative:
          description: Latencies below zero; they are measured like all others.
          type: int
        late:
          description: Rows older than one of their instrument in an earlier block.
          type: int
        duplicates:
          description: Rows beyond the first of each key.
          type: int
        unattributed:
          description: Valid rows without a known commit.
          type: int
        invalid:
          description: Rows that are not valid and reach no candle.
          type: int
        ambiguous:
          description: Rows that were given the latest commit that may be theirs.
          type: int
        min_ms:
          description: The least latency.
          type: float
        max_ms:
          description: The greatest.
          type: float
        mean_ms:
          description: The mean.
          type: float
        quantiles:
          description:
            - Order statistics at C(levels).
            - C(low_ms) and C(high_ms) differ where commits are known between bounds only.
          type: dict
        histogram:
          description: Upper bound in milliseconds and count of each bucket that is not empty, 8 to an octave.
          type: list
          elements: list
        series:
          description: By second of the measured window, count, p50, p99 and maximum in milliseconds.
          type: list
          elements: list
        exceeding_levels:
          description: The levels of C(exceeding).
          type: list
          elements: float
        exceeding:
          description: By second, count, and how many latencies lie above the quantile of each of C(exceeding_levels).
          type: list
          elements: list
    rows_in_window:
      description: Rows of the source tier that began within the window.
      type: int
    cost:
      description: What the queries cost the server, and why it enforced no limits, if so.
      type: dict
      sample: {queries: 43, rows_read: 2294075, bytes_read: 64619234, elapsed_s: 1.8, without_limits: null}
canary:
  description: What the canary saw.
  returned: success, when O(canary) is asked for, not in check mode
  type: dict
  contains:
    exchange:
      description: Whose topic the records went to.
      type: str
    symbol:
      description: Their symbol.
      type: str
    rate_per_s:
      description: Records per second, after the limit of 5 %.
      type: float
    sent:
      description: Records sent.
      type: int
    seen:
      description: Those that every candle table showed.
      type: int
    unseen:
      description: Those that one at least did not show; they are in no quantile.
      type: int
    resolution_ms:
      description: The longest time between two looks.
      type: float
    tiers:
      description:
        - By candle tier, how many were seen (C(n)) or not (C(unseen)), and at C(levels) both bounds of the time from
          when a record was due to when it could be read.
      type: list
      elements: dict
    why:
      description: What limits or spoils the result; null if nothing does.
      type: str
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.k2.hardening.plugins.module_utils.core.background import in_background
from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.measure.latency.canary import Canary, CanaryWish
from ansible_collections.k2.hardening.plugins.module_utils.measure.latency.measure import Wish, measure
from ansible_collections.k2.hardening.plugins.module_utils.measure.latency.model import Span
from ansible_collections.k2.hardening.plugins.module_utils.measure.latency.plan import CommitSource
from ansible_collections.k2.hardening.plugins.module_utils.measure.latency.session import Limits
from ansible_collections.k2.hardening.plugins.module_utils.profile.arguments import profile_argument
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Profile
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
            "canary": {
                "type": "dict",
                "options": {
                    "rate_per_s": {"type": "float", "required": True},
                    "exchange": {"type": "str", "required": True},
                    "seconds": {"type": "float"},
                },
            },
            "confirm": {"type": "str"},
            "state_dir": {"type": "path"},
        },
        required_by={"canary": ("state_dir",)},
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
        profile = parse_profile(params["profile"])
        canary = _canary(params, profile, wish) if params["canary"] and not module.check_mode else None
        flying = in_background(lambda: canary.run(wish.drain_timeout_s)) if canary else None
        latency = measure(profile, wish, progress_file)
        answer = {"changed": params["canary"] is not None, "latency": asdict(latency)}
        if flying is not None:
            answer["canary"] = asdict(flying.result())
    except K2Error as error:
        module.fail_json(msg=str(error), **error.as_dict())
    module.exit_json(**answer)


def _canary(params: dict[str, Any], profile: Profile, wish: Wish) -> Canary:
    asked = CanaryWish(confirm=params["confirm"], state_dir=Path(params["state_dir"]), **params["canary"])
    return Canary(profile, asked, wish.window, wish.limits)


if __name__ == "__main__":
    main()
