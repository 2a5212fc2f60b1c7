# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: k2_load
short_description: Put a load on the platform whose send times are fixed in advance, or remove what loads have left
version_added: "0.1.0"
description:
  - Sends messages at times that follow from rate, duration and seed alone (open loop). What cannot be sent in time is
    sent at once, and how late it was is recorded; what is not sent at all is counted. So a platform that stalls cannot
    slow its own load down and hide the stall.
  - With O(source=simulator), tells the simulator at O(profile.k2_load.control_url) to make the load, and waits for its
    end. The simulator returns to its base rate by itself, even when this module is killed.
  - With O(source=replay) or O(source=file), writes to the raw topics itself, in the profile's formats and under its
    reserved symbols (O(profile.k2_load.records)), so that these records can be told apart and removed.
  - Several hosts can each send a share of one load; M(k2.hardening.k2_load) then returns what belongs to its share.
  - While a load is made, an entry of the undo journal is open. Where this module is killed it stays open and says what
    ends the load; gate C(S0.clean_start) of the next run shows it.
  - SIGTERM ends a load cleanly.
author:
  - The k2.hardening authors (@k2-hardening)
extends_documentation_fragment:
  - k2.hardening.profile
options:
  state:
    description:
      - V(present) makes a load.
      - V(absent) ends loads that a killed run of this module has left and closes their entries in the undo journal.
      - It then removes the rows of reserved symbols from ClickHouse, from the last tier to the first, as the user of
        O(profile.k2_load.cleanup).
    type: str
    choices: [present, absent]
    default: present
  load:
    description: The load to make, a name of O(profile.k2_load.rates). Required with O(state=present).
    type: str
  rate:
    description: Messages per second over all exchanges and shares, instead of the load's rate in the profile.
    type: float
  seconds:
    description: How long to send. Required with O(state=present).
    type: float
  arrivals:
    description: How the gaps between messages are drawn.
    type: str
    choices: [poisson, constant]
    default: poisson
  seed:
    description: The same seed makes the same times.
    type: int
    default: 1
  source:
    description: Who sends, and what.
    type: str
    choices: [simulator, replay, file]
    default: simulator
  data_file:
    description:
      - With O(source=file), a CSV file on the target with the columns exchange, symbol, trade_id, exchange_time_us,
        side, price and size. Side, price and size are sent, over and over.
    type: path
  replay_records:
    description: With O(source=replay), how many of the newest records of each raw topic are stamped anew and sent.
    type: int
    default: 10000
  start_at_us:
    description:
      - When the schedule starts, in microseconds since the epoch.
      - Without it, one second after all is ready, and after O(quiet_before_s). Required with several shares.
    type: int
  quiet_before_s:
    description:
      - Seconds before the start in which the simulator sends nothing, so that C(load.watermark) can tell where the raw
        topics ended before the load. Takes two seconds or more.
    type: float
    default: 0
  quiet_after_s:
    description: With O(source=simulator), how many seconds it sends nothing before it returns to its base rate.
    type: float
    default: 0
  load_id:
    description:
      - With O(source=simulator), what the simulator calls this load, so that another program can see it in C(GET /load)
        and end it, and no other, by C(POST /load/stop) or C(POST /load/end).
      - A name that no other load has when absent.
    type: str
  share:
    description: The part of the schedule that this host sends.
    type: dict
    suboptions:
      index:
        description: Which part, from 0.
        type: int
        required: true
      of:
        description: Of how many.
        type: int
        required: true
  confirm:
    description: The platform's name, O(profile.k2_platform), said back. Required except in check mode.
    type: str
  state_dir:
    description: Directory on the target below which the undo journal of each platform lies.
    type: path
    required: true
  progress_file:
    description: File that receives progress events, one JSON object per line.
    type: path
attributes:
  check_mode:
    support: full
    description: Returns the plan or, with O(state=absent), counts the rows that would be removed.
  diff_mode:
    support: none
    description: What a load changes is the traffic.
  idempotent:
    support: partial
    details: With O(state=absent) a second run finds nothing to remove. Each load is a new one.
    description: A second load is made.
requirements:
  - Python 3.9 or later on the target
  - ddsketch for that Python, with O(state=present)
  - confluent-kafka for that Python, with O(source=replay) or O(source=file)
"""

EXAMPLES = r"""
- name: Load the platform for a minute
  k2.hardening.k2_load:
    profile: "{{ lookup('k2.hardening.profile') }}"
    load: 10x
    seconds: 60
    quiet_after_s: 10
    confirm: "{{ k2_confirm }}"
    state_dir: /var/lib/k2-hardening
  register: load

- name: Write recorded records to the topics again, half of them from each of two hosts
  k2.hardening.k2_load:
    profile: "{{ lookup('k2.hardening.profile') }}"
    load: 5x
    seconds: 60
    source: replay
    start_at_us: "{{ start_at_us }}"
    share: {index: "{{ groups['load'].index(inventory_hostname) }}", of: 2}
    confirm: "{{ k2_confirm }}"
    state_dir: /var/lib/k2-hardening

- name: Remove what it has left
  k2.hardening.k2_load:
    profile: "{{ lookup('k2.hardening.profile') }}"
    state: absent
    confirm: "{{ k2_confirm }}"
    state_dir: /var/lib/k2-hardening
"""

RETURN = r"""
plan:
  description: What would be sent where.
  returned: in check mode, with O(state=present)
  type: dict
  sample:
    source: file
    rate: 500.0
    seconds: 60.0
    messages: 30042
    exact: true
    to: {binance: market.crypto.trades.binance.raw}
    symbols: {binance: K2LOADETH}
    ends: sending ends by itself; what it wrote stays until k2_load with state absent
load:
  description: What was sent.
  returned: success, with O(state=present), not in check mode
  type: dict
  contains:
    source:
      description: As asked for, as are C(load), C(seconds), C(arrivals), C(seed) and C(share).
      type: str
    load:
      description: The load's name.
      type: str
    rate:
      description: Messages per second of all shares together.
      type: float
    seconds:
      description: Length of the schedule.
      type: float
    arrivals:
      description: How gaps were drawn.
      type: str
    seed:
      description: What they were drawn from.
      type: int
    share:
      description: The part of the schedule.
      type: dict
    start_us:
      description: Start of the schedule in microseconds since the epoch.
      type: int
    end_us:
      description: End of the schedule.
      type: int
    ended_us:
      description: When the last message was sent or given up.
      type: int
    scheduled:
      description: Messages of the schedule.
      type: int
    sent:
      description: Messages handed over, late or not.
      type: int
    unsent:
      description: Messages that were not.
      type: int
    acked:
      description: Messages that the broker acknowledged; null with O(source=simulator).
      type: int
    errors:
      description: Messages that it did not, by reason.
      type: dict
    exchanges:
      description: The same by exchange. C(heard) counts messages that had a listener; null where nobody can tell.
      type: dict
      sample: {binance: {scheduled: 10014, sent: 10014, unsent: 0, heard: 10014}}
    lateness:
      description: Milliseconds from a message's scheduled time to its sending, as a mergeable DDSketch.
      type: dict
      sample: {relative_accuracy: 0.01, count: 2, sum: 0.4, min: 0.1, max: 0.3, zeros: 0, bins: {"-115": 1, "-60": 1}}
    ack:
      description: Milliseconds from a message's sending to its acknowledgement; null with O(source=simulator).
      type: dict
    cpu_cores:
      description: CPU that the sending process used, in cores.
      type: float
    interrupted:
      description: Why the load is not what was asked for; null where it is.
      type: str
    watermark:
      description:
        - Where the raw topics ended just before the first message, by topic and partition the next offset.
        - Null where that is not known, as without O(quiet_before_s) with O(source=simulator).
      type: dict
      sample: {market.crypto.trades.kraken.raw: {"0": 5120, "1": 4987}}
cleanup:
  description: What was left of loads, and what became of it.
  returned: success, with O(state=absent)
  type: dict
  contains:
    ended:
      description: Loads that a killed run had left.
      type: list
      elements: str
    tiers:
      description: Each tier, the last first; C(why) says why rows stay, or why nobody could look.
      type: list
      elements: dict
      sample: [{tier: silver, table: silver_trades, found: 3000, removed: 3000, why: null}]
    stays:
      description: What cannot be removed whatever is done.
      type: list
      elements: str
"""

import signal
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.measure.load.cleanup import remove_loads
from ansible_collections.k2.hardening.plugins.module_utils.measure.load.request import (
    Request,
    Source,
    plan,
)
from ansible_collections.k2.hardening.plugins.module_utils.measure.load.run import run_load
from ansible_collections.k2.hardening.plugins.module_utils.measure.load.schedule import WHOLE, Arrivals, Share
from ansible_collections.k2.hardening.plugins.module_utils.profile.arguments import profile_argument
from ansible_collections.k2.hardening.plugins.module_utils.profile.confirm import require_confirmed
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "profile": profile_argument(),
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "load": {"type": "str"},
            "rate": {"type": "float"},
            "seconds": {"type": "float"},
            "arrivals": {"type": "str", "choices": ["poisson", "constant"], "default": "poisson"},
            "seed": {"type": "int", "default": 1},
            "source": {"type": "str", "choices": ["simulator", "replay", "file"], "default": "simulator"},
            "data_file": {"type": "path"},
            "replay_records": {"type": "int", "default": 10000},
            "start_at_us": {"type": "int"},
            "quiet_before_s": {"type": "float", "default": 0},
            "quiet_after_s": {"type": "float", "default": 0},
            "load_id": {"type": "str"},
            "share": {
                "type": "dict",
                "options": {"index": {"type": "int", "required": True}, "of": {"type": "int", "required": True}},
            },
            "confirm": {"type": "str"},
            "state_dir": {"type": "path", "required": True},
            "progress_file": {"type": "path"},
        },
        required_if=[("state", "present", ("load", "seconds"))],
        supports_check_mode=True,
    )
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        answer = _answer(module, stop)
    except K2Error as error:
        module.fail_json(msg=str(error), **error.as_dict())
    module.exit_json(**answer)


def _answer(module: AnsibleModule, stop: threading.Event) -> dict[str, Any]:
    params = module.params
    profile = parse_profile(params["profile"])
    if not module.check_mode:
        require_confirmed(profile, params["confirm"], "a load")
    if params["state"] == "absent":
        cleanup = remove_loads(profile, Path(params["state_dir"]), only_look=module.check_mode)
        return {"changed": cleanup.changed, "cleanup": asdict(cleanup)}
    request = _request(params)
    if module.check_mode:
        return {"changed": True, "plan": asdict(plan(profile, request))}
    progress_file = Path(params["progress_file"]) if params["progress_file"] else None
    result = run_load(profile, request, Path(params["state_dir"]), progress_file, stop)
    return {"changed": True, "load": result.to_plain()}


def _request(params: dict[str, Any]) -> Request:
    return Request(
        load=params["load"],
        seconds=params["seconds"],
        source=Source(params["source"]),
        rate=params["rate"],
        arrivals=Arrivals(params["arrivals"]),
        seed=params["seed"],
        start_at_us=params["start_at_us"],
        share=WHOLE if params["share"] is None else Share(**params["share"]),
        data_file=Path(params["data_file"]) if params["data_file"] else None,
        replay_records=params["replay_records"],
        quiet_before_s=params["quiet_before_s"],
        quiet_after_s=params["quiet_after_s"],
        load_id=params["load_id"],
    )


if __name__ == "__main__":
    main()
