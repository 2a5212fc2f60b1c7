# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: k2_tier_audit
short_description: Account for every record of the broker in every tier behind it
version_added: "0.1.0"
description:
  - Reads again what the raw topics of O(profile.k2_broker) hold between two points, and says for every tier of
    O(profile.k2_tiers) whether it holds each of these records exactly once, with the first ids that it lacks or holds
    twice, and which tier is the first to lack them.
  - What exists is counted, never an end minus a start. Control records, compaction and aborted transactions leave holes
    in the offsets that are no loss.
  - Waits first until the groups of O(profile.k2_broker) have committed the range.
  - Compares the values that neighbouring tiers both have of a record (price, size, time), and makes every candle whose
    window saw a record of the range again from its trades.
  - Where rows carry no topic, partition and offset, tiers are compared with the one before them by a key that was first
    found to be unique, else by whole trades, else by counts; RV(audit.basis) and RV(audit.why_basis) say which. Equal
    counts alone prove nothing and are never V(EXACT).
  - Changes nothing. Joins no consumer group and commits no offset. Every query is bounded.
author:
  - The k2.hardening authors (@k2-hardening)
extends_documentation_fragment:
  - k2.hardening.profile
options:
  from_watermark:
    description:
      - Where to begin, by topic and partition. What RV(audit.watermark) of an earlier call returned.
      - Without it, the range begins with the oldest record that the broker still has.
    type: dict
  mark_only:
    description: Return RV(audit.watermark) of now, and do nothing else.
    type: bool
    default: false
  expected:
    description:
      - How many records each exchange sent within the range, where somebody knows, for example a load.
      - These are counts, so a lost record and a doubled one of the same exchange cancel out here.
    type: dict
  max_records:
    description: Look at no more than this many offsets, the newest ones; the result says so if it left any out.
    type: int
    default: 10000000
  read_timeout:
    description: Seconds that reading the range from the broker may take.
    type: int
    default: 300
  drain_timeout:
    description:
      - Seconds to wait at most until consumers have taken in the range.
      - What is missing after that is V(INCONCLUSIVE), since it may still be on its way.
    type: int
    default: 60
  sample_rows:
    description:
      - All rows are compared by checksums. Of those whose checksums differ, compare at most this many rows of each pair
        of tiers value by value.
    type: int
    default: 1000000
  max_rows_to_read:
    description: Rows that a single query may read, ClickHouse's setting of that name.
    type: int
    default: 200000000
  query_timeout:
    description: Seconds that a single query may take.
    type: int
    default: 60
  compare_candles:
    description: Whether to make candles again.
    type: bool
    default: true
  compare_cold:
    description:
      - Whether to compare the tiers in an object store, too, each with the tier of ClickHouse that it is copied from,
        up to its row in O(profile.k2_watermarks). ClickHouse reads them by its table function C(iceberg).
      - A table that cannot be read, or of which nothing is due yet, is listed with the reason and leaves
        RV(audit.verdict) as it is.
    type: bool
    default: true
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
  - confluent-kafka for that Python
  - psycopg or psycopg2 for that Python, where tiers in an object store are to be compared
notes:
  - Rows that the database itself has dropped by a TTL while the broker still has their records count as lost. Begin
    with a watermark that is younger.
  - Windows of candles are taken as aligned to the epoch, in UTC. The columns of O(profile.k2_tiers) that tell candles
    apart are looked for in the candles' source under the same names.
  - Rows of a table engine that merges rows are read with C(FINAL).
"""

EXAMPLES = r"""
- name: Mark where the load begins
  k2.hardening.k2_tier_audit:
    profile: "{{ lookup('k2.hardening.profile') }}"
    mark_only: true
  register: before

- name: Account for every record since
  k2.hardening.k2_tier_audit:
    profile: "{{ lookup('k2.hardening.profile') }}"
    from_watermark: "{{ before.audit.watermark }}"
    expected: {binance: 1200, kraken: 300}
  register: after
  failed_when: after.audit.verdict != 'EXACT'
"""

RETURN = r"""
audit:
  description: What was found. With O(mark_only=true), RV(audit.watermark) alone.
  returned: success
  type: dict
  contains:
    basis:
      description: >-
        By what records were told apart, in the tier where that proves least: V(offsets), V(keys), V(multisets) or
        V(counts).
      type: str
    why_basis:
      description: Why by nothing better.
      type: str
    verdict:
      description: >-
        V(LOST), V(DUPLICATED), V(DIFFERENT) (a record or a candle is there once, with another value),
        V(INCONCLUSIVE) or V(EXACT); the first of these that was found anywhere.
      type: str
    reason:
      description: What led to the verdict.
      type: str
    range:
      description: What was audited of each partition, and how many records exist there.
      type: list
      elements: dict
      sample:
        - {topic: trades.raw, partition: 0, start: 1200, end: 2400, records: 1200}
    watermark:
      description: The end of the range by topic and partition, for O(from_watermark).
      type: dict
      sample: {trades.raw: {"0": 2400}}
    upstream:
      description: What each exchange of O(expected) sent beside what the broker has.
      type: list
      elements: dict
      sample:
        - {exchange: binance, expected: 1200, seen: 1200, lost: 0, surplus: 0}
    tiers:
      description: >-
        Each tier of records. C(missing) counts all that it lacks, C(lost_here) those that the tier before it has.
        Counts are null where a tier was not read.
      type: list
      elements: dict
      sample:
        - tier: silver
          table: silver_trades
          exchange: null
          basis: offsets
          verdict: LOST
          reason: 17 missing
          expected: 1200
          rows: 1183
          distinct: 1183
          missing: 17
          lost_here: 17
          duplicated: 0
          unexpected: 0
          first_missing: [trades.raw/0/1300]
          first_duplicated: []
          first_unexpected: []
          not_due: null
    values:
      description: >-
        Values of the same record in neighbouring tiers; null where no two tiers with offsets have any in common.
      type: dict
      sample:
        verdict: EXACT
        reason: bronze and silver compared by exchange time, price, size
        compared: 1200
        by_checksum: 1200
        not_compared: 0
        differing: 0
        first: []
    candles:
      description: >-
        Each tier of candles. C(open) counts windows that were still being written and were not compared. C(copy_of) is
        set for a tier of the cold store, which is held against that tier instead of its trades.
      type: list
      elements: dict
      sample:
        - tier: candle_1m
          table: ohlcv_1m
          verdict: DIFFERENT
          reason: 1 candles differ from their trades
          windows: 40
          compared: 40
          open: 0
          missing: 0
          differing: 1
          first:
            - {key: "binance/BTC/USDT/2026-02-19T10:14:00Z", column: high, expected: "100.5", seen: "100.6"}
          copy_of: null
    cost:
      description: What it took of the database, and of the broker.
      type: dict
      sample:
        {queries: 21, rows_read: 9600, bytes_read: 480000, elapsed_s: 0.2, records_read: 1200, reading_s: 0.4}
"""

from dataclasses import asdict
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.measure.ledger.audit import (
    Options,
    audit,
    connect,
    expected_counts,
    mark,
)
from ansible_collections.k2.hardening.plugins.module_utils.profile.arguments import profile_argument
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "profile": profile_argument(),
            "from_watermark": {"type": "dict"},
            "mark_only": {"type": "bool", "default": False},
            "expected": {"type": "dict"},
            "max_records": {"type": "int", "default": 10_000_000},
            "read_timeout": {"type": "int", "default": 300},
            "drain_timeout": {"type": "int", "default": 60},
            "sample_rows": {"type": "int", "default": 1_000_000},
            "max_rows_to_read": {"type": "int", "default": 200_000_000},
            "query_timeout": {"type": "int", "default": 60},
            "compare_candles": {"type": "bool", "default": True},
            "compare_cold": {"type": "bool", "default": True},
            "progress_file": {"type": "path"},
        },
        supports_check_mode=True,
    )
    params = module.params
    progress_file = Path(params["progress_file"]) if params["progress_file"] else None
    try:
        profile = parse_profile(params["profile"])
        reader, database = connect(profile)
        if params["mark_only"]:
            module.exit_json(changed=False, audit={"watermark": mark(profile, reader)})
        options = Options(
            from_watermark=params["from_watermark"],
            expected=expected_counts(params["expected"] or {}),
            max_records=params["max_records"],
            read_timeout_s=params["read_timeout"],
            drain_timeout_s=params["drain_timeout"],
            sample_rows=params["sample_rows"],
            max_rows_to_read=params["max_rows_to_read"],
            query_timeout_s=params["query_timeout"],
            compare_candles=params["compare_candles"],
            compare_cold=params["compare_cold"],
        )
        found = audit(profile, reader, database, options, progress_file)
    except K2Error as error:
        module.fail_json(msg=str(error), **error.as_dict())
    module.exit_json(changed=False, audit=asdict(found))


if __name__ == "__main__":
    main()
