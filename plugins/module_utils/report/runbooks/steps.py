# SPDX-License-Identifier: Apache-2.0
"""The commands of a runbook: what shows the failure, and what mends it, by how the failure comes about.

Nothing here names a service, a table or a port: all of it comes from the profile.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import Optional

from ...measure.runbook.expectation import Condition, Expectation, Kind
from ...profile.failures import affected_exchanges, on_hot_path
from ...profile.model import (
    FailureMode,
    FaultAction,
    Profile,
    RecoveryPoint,
    RuntimeKind,
    Service,
    ServiceKind,
    Tier,
)
from ...profile.runbooks import ANY_CRASH, OOM_KILL
from .commands import Commands, commands_for, project_network
from .shell import probe_command

SYMPTOM_S, DATA_S, UP_S, FLOW_S, RUN_S = 10, 40, 60, 60, 120
_DOWN = (FaultAction.KILL, FaultAction.RESTART, FaultAction.STOP)


@dataclass(frozen=True)
class Shown:
    """A command as a runbook shows it: why, what, and what is expected of it."""

    title: str
    why: str
    command: str
    expectations: tuple[Expectation, ...]


@dataclass(frozen=True)
class Subject:
    """What a runbook's commands are about: a service, or any of several through shell variables.

    ``choose`` are the lines that set those variables; the first service is chosen as the page stands.
    """

    service: Service
    commands: Commands
    unit: str
    name: str
    exchange: str
    probe: str
    choose: tuple[str, ...] = ()


def subject_of(profile: Profile, names: tuple[str, ...]) -> Optional[Subject]:
    """The subject of a runbook; ``names`` are the services that it may be about. None without any."""
    services = [profile.services[name] for name in names]
    if not services:
        return None
    first = services[0]
    if len(services) == 1:
        unit, probe = first.unit, probe_command(profile, first)
        commands = commands_for(profile.platform, first.runtime, unit)
        return Subject(first, commands, unit, first.name, first.exchange or "", probe)
    cases = []
    for service in services:
        words = [f"unit={shlex.quote(service.unit)}", f"exchange={shlex.quote(service.exchange or '')}"]
        probe = probe_command(profile, service) or "true"
        cases.append(f"  {shlex.quote(service.name)}) {' '.join(words)}; probe() {{ {probe}; }} ;;")
    others = ", ".join(service.name for service in services[1:])
    choose = (
        f"service={shlex.quote(first.name)}  # the one that the alert names, or {others}",
        "case $service in",
        *cases,
        "esac",
    )
    probed = all(probe_command(profile, service) for service in services)
    commands = commands_for(profile.platform, first.runtime, "$unit")
    return Subject(first, commands, "$unit", "the service", "$exchange", "probe" if probed else "", choose)


def diagnosis(profile: Profile, mode: FailureMode, subject: Optional[Subject]) -> tuple[Shown, ...]:
    """What shows the failure, the quickest first."""
    if subject is None:
        return _views(profile)
    shown: list[Optional[Shown]] = []
    commands = subject.commands
    if mode.action in _DOWN:
        shown += [_is_down(subject), _probe_fails(subject, "It does not answer.")]
        if mode.name == OOM_KILL:
            shown.append(_was_killed(subject))
    elif mode.action is FaultAction.PAUSE:
        shown += [
            _stands_still(subject),
            _probe_fails(subject, "It holds its connections, and answers nobody."),
        ]
    elif mode.action is FaultAction.DISCONNECT:
        shown += [
            _still_runs(subject, "The process is well: its runtime sees nothing wrong."),
            _probe_fails(subject, "From outside it cannot be reached."),
            _cut_off(subject),
        ]
    elif mode.action is FaultAction.CUT_SOURCE:
        shown += [_still_runs(subject, "The handler is well."), _source_refuses(profile, subject)]
    elif mode.action is FaultAction.KILL_RUN:
        shown += [_still_runs(subject, "The worker is well; what ended is its run."), _run_failed()]
    if mode.name not in (OOM_KILL, ANY_CRASH):  # any service: what stops with it depends on which
        shown += [_data_stopped(profile, mode, subject), _lag_grows(profile, subject)]
    if mode.action in _DOWN:
        shown.append(_last_words(commands))
    return tuple(each for each in shown if each is not None)


def resolution(profile: Profile, mode: FailureMode, subject: Optional[Subject]) -> tuple[Shown, ...]:
    """What mends it, and what shows that it is mended."""
    if subject is None:
        return _views_again(profile)
    shown: list[Optional[Shown]] = []
    if mode.action in _DOWN:
        shown.append(_start(subject))
    elif mode.action is FaultAction.PAUSE:
        shown.append(_thaw(subject))
    elif mode.action is FaultAction.DISCONNECT:
        shown.append(_reconnect(profile, subject))
    elif mode.action is FaultAction.CUT_SOURCE:
        shown.append(_source_again(profile, subject))
    shown.append(_runs_again(subject))
    if mode.recovery_at is RecoveryPoint.NEXT_RUN and profile.orchestrator is not None:
        shown += [_ask_for_run(), _run_completed()]
    if mode.name != ANY_CRASH:
        shown += [_data_again(profile, mode, subject), _caught_up(profile, subject)]
    return tuple(each for each in shown if each is not None)


# -- the runtime's view ------------------------------------------------------------------------------------------------


def _is_down(subject: Subject) -> Shown:
    return Shown(
        f"See whether {subject.name} runs",
        "",
        subject.commands.status,
        (_line(Kind.SYMPTOM, Condition.LACKS, subject.commands.up),),
    )


def _still_runs(subject: Subject, why: str) -> Shown:
    return Shown(
        f"See that {subject.name} runs",
        why,
        subject.commands.status,
        (_line(Kind.EXPECTED, Condition.CONTAINS, subject.commands.up),),
    )


def _stands_still(subject: Subject) -> Shown:
    commands = subject.commands
    return Shown(
        "See whether its process stands still",
        "`T` is a process that was stopped; one in `D` for long waits for a disk.",
        commands.frozen,
        (_line(Kind.SYMPTOM, Condition.CONTAINS, commands.frozen_word),),
    )


def _was_killed(subject: Subject) -> Shown:
    return Shown(
        "See how it ended",
        "SIGKILL that nobody sent is the kernel's: `dmesg --ctime | grep -i 'out of memory'` names the process, where"
        " this user may read it.",
        subject.commands.last_end,
        (_line(Kind.SYMPTOM, Condition.CONTAINS, subject.commands.killed_word),),
    )


def _last_words(commands: Commands) -> Shown:
    return Shown(
        "Read its last words",
        "An error here names the cause. Nothing unusual means that it was ended from outside.",
        commands.logs,
        (Expectation(Kind.EXPECTED, Condition.SUCCEEDS),),
    )


def _probe_fails(subject: Subject, why: str) -> Optional[Shown]:
    if not subject.probe:
        return None
    return Shown("Ask it", why, subject.probe, (Expectation(Kind.SYMPTOM, Condition.FAILS, within_s=SYMPTOM_S),))


def _start(subject: Subject) -> Shown:
    return Shown(
        "Start it",
        "If it does not stay up, its last words (above) say why: mend that first.",
        subject.commands.start,
        (Expectation(Kind.EXPECTED, Condition.SUCCEEDS),),
    )


def _thaw(subject: Subject) -> Shown:
    return Shown(
        "End the process that stands still",
        subject.commands.thaw_note[:1].upper() + subject.commands.thaw_note[1:] + ".",
        subject.commands.thaw,
        (Expectation(Kind.EXPECTED, Condition.SUCCEEDS),),
    )


def _runs_again(subject: Subject) -> Shown:
    if subject.probe:
        wanted = Expectation(Kind.DONE, Condition.SUCCEEDS, within_s=UP_S)
        return Shown("Wait until it answers", "", subject.probe, (wanted,))
    wanted = Expectation(Kind.DONE, Condition.CONTAINS, (subject.commands.up,), UP_S)
    return Shown("Wait until it runs", "", subject.commands.status, (wanted,))


# -- the network -------------------------------------------------------------------------------------------------------

FILTER = (
    "packet_filter() { for tool in iptables iptables-nft iptables-legacy; do"
    ' if $inside "$tool" -S INPUT >/dev/null 2>&1; then $inside "$tool" "$@"; return; fi; done;'
    ' echo "no packet filter works here: are you root?" >&2; return 1; }'
)


def _cut_off(subject: Subject) -> Shown:
    if subject.service.runtime is RuntimeKind.DOCKER:
        command = "docker inspect -f 'networks {{len .NetworkSettings.Networks}}' " + subject.unit
        return Shown(
            "See whether it is on its network", "", command, (_line(Kind.SYMPTOM, Condition.CONTAINS, "networks 0"),)
        )
    port = subject.service.port
    return Shown(
        "See whether a packet filter drops what goes to its port",
        "As root.",
        f"{FILTER}\npacket_filter -S INPUT | grep -E -- '--[ds]port {port}\\b' || echo 'no rule about port {port}'",
        (_line(Kind.SYMPTOM, Condition.CONTAINS, "DROP"),),
    )


def _reconnect(profile: Profile, subject: Subject) -> Shown:
    if subject.service.runtime is RuntimeKind.DOCKER:
        address = subject.service.ipv4 or _host(profile, subject.service)
        fixed = f" --ip {address}" if address else ""
        aliases = "".join(
            f" --alias {shlex.quote(name)}" for name in dict.fromkeys((subject.service.name, subject.service.unit))
        )
        command = f'docker network connect{fixed}{aliases} "$({project_network(profile.platform)})" {subject.unit}'
        return Shown(
            "Put it back on its network, with its address and names",
            "",
            command,
            (Expectation(Kind.EXPECTED, Condition.SUCCEEDS),),
        )
    return _without_rules(f"-E -- '--[ds]port {subject.service.port}\\b.*-j DROP'", "")


def _without_rules(which: str, inside: str) -> Shown:
    command = (
        f"{inside}{FILTER}\n"
        f"packet_filter -S INPUT | grep {which} | sed 's/^-A/-D/' |\n"
        '  while read -r rule; do eval "packet_filter $rule"; done\n'
        f"packet_filter -S INPUT | grep {which} || echo 'no such rule is left'"
    )
    wanted = (_line(Kind.EXPECTED, Condition.CONTAINS, "no such rule is left"),)
    return Shown("Remove the rules that drop its packets", "As root. Tell whoever made them.", command, wanted)


def _host(profile: Profile, service: Service) -> Optional[str]:
    """The address that others reach a database of records by, where it is one on the containers' network."""
    store = profile.clickhouse
    if service.kind is not ServiceKind.DATABASE or store is None or store.port != service.port:
        return None
    return store.host if store.host.count(".") == 3 and not store.host.startswith("127.") else None


def _source_refuses(profile: Profile, subject: Subject) -> Shown:
    control = _control(profile)
    if control is not None:
        reads = (
            "import json, sys; one = json.load(sys.stdin)[sys.argv[1]]; "
            'print(one["connections"], "connections,", "refuses" if one["refusing_until_us"] else "takes", "more")'
        )
        command = f"curl -sS -f -m 5 {control}/state | python3 -c '{reads}' {subject.exchange}"
        why = "The exchange is a simulator here, which tells it. A real one has a status page; and see the way there."
        return Shown(
            "See whether the exchange takes connections",
            why,
            command,
            (_line(Kind.SYMPTOM, Condition.CONTAINS, "refuses"),),
        )
    rules = f"{_inside(subject)}{FILTER}\npacket_filter -S INPUT | grep -e '-j DROP' || echo 'no rule drops anything'"
    why = "As root. Without such a rule the way to the exchange is broken elsewhere: ask for its host by name and port."
    return Shown(
        "See whether a packet filter cuts it off", why, rules, (_line(Kind.SYMPTOM, Condition.CONTAINS, "DROP"),)
    )


def _source_again(profile: Profile, subject: Subject) -> Shown:
    control = _control(profile)
    if control is not None:
        body = shlex.quote(json.dumps({"exchange": subject.exchange, "seconds": 0}))
        if subject.exchange.startswith("$"):
            body = '"{\\"exchange\\": \\"$exchange\\", \\"seconds\\": 0}"'
        command = f"curl -sS -f -m 5 -X POST -H 'Content-Type: application/json' -d {body} {control}/refuse"
        why = "The handler connects again by itself, later the longer it was cut off. Restart it where that takes long."
        return Shown(
            "Have the exchange take connections again", why, command, (Expectation(Kind.EXPECTED, Condition.SUCCEEDS),)
        )
    return _without_rules("-e '-j DROP'", _inside(subject))


def _inside(subject: Subject) -> str:
    if subject.service.runtime is not RuntimeKind.DOCKER:
        return ""
    return f"inside=\"nsenter -t $(docker inspect -f '{{{{.State.Pid}}}}' {subject.unit}) -n\"\n"


def _control(profile: Profile) -> Optional[str]:
    url = profile.load.control_url if profile.load is not None else None
    return None if url is None else url.rstrip("/")


# -- what flows --------------------------------------------------------------------------------------------------------


def _data_stopped(profile: Profile, mode: FailureMode, subject: Subject) -> Optional[Shown]:
    query = _flow_query(profile, mode, subject)
    if query is None or _holds_records(profile, subject.service):
        return None
    return Shown(
        "See whether records have stopped",
        "",
        query,
        (_line(Kind.SYMPTOM, Condition.CONTAINS, "STALE", within_s=DATA_S),),
    )


def _data_again(profile: Profile, mode: FailureMode, subject: Subject) -> Optional[Shown]:
    query = _flow_query(profile, mode, subject)
    if query is None:
        return None
    wanted = (_line(Kind.DONE, Condition.CONTAINS, "FRESH", within_s=FLOW_S),)
    return Shown("Wait until records flow again", "", query, wanted)


def _flow_query(profile: Profile, mode: FailureMode, subject: Subject) -> Optional[str]:
    """Whether the last tier before the candles has new rows, of the exchanges that the failure stops."""
    exchanges = affected_exchanges(profile, mode, subject.service)
    tier = _fresh_tier(profile)
    if not exchanges or tier is None:
        return None
    one = subject.exchange if len(exchanges) == 1 and subject.exchange else ""
    return _fresh(profile, tier, one)


def _fresh(profile: Profile, tier: Tier, exchange: str) -> str:
    assert profile.clickhouse is not None
    assert tier.freshness is not None
    column = tier.time_columns[tier.freshness.hop].column
    table = f"{profile.clickhouse.database}.{tier.table}"
    stale = f"{profile.runbooks.stale_s:g}"
    where = f"{column} > now() - INTERVAL {stale} SECOND"
    if exchange and tier.exchange_column:
        where += f" AND {tier.exchange_column} = '{exchange}'"
    sql = f"SELECT if(count() > 0, 'FRESH', 'STALE'), count() AS new_rows FROM {table} WHERE {where}"
    return f'ch "{sql}"'


def _fresh_tier(profile: Profile) -> Optional[Tier]:
    if profile.clickhouse is None:
        return None
    tiers = [t for t in profile.tiers if t.store.value == "clickhouse" and t.freshness is not None and not t.timeframe]
    return tiers[-1] if tiers else None


def _holds_records(profile: Profile, service: Service) -> bool:
    """Whether it is the database that would have to be asked."""
    store = profile.clickhouse
    return store is not None and service.port == store.port and service.kind is ServiceKind.DATABASE


def _groups_of(profile: Profile, subject: Subject) -> bool:
    groups = profile.broker.groups if profile.broker is not None else ()
    return any(group.service == subject.service.name for group in groups)


def _lag_grows(profile: Profile, subject: Subject) -> Optional[Shown]:
    if profile.runbooks.lag is None or not _groups_of(profile, subject):
        return None
    high = profile.runbooks.lag_high
    return Shown(
        "See whether its backlog grows",
        "The broker keeps what nobody takes: nothing is lost yet.",
        f'[ "$(lag)" -gt {high} ] && echo BEHIND || lag',
        (_line(Kind.SYMPTOM, Condition.CONTAINS, "BEHIND", within_s=DATA_S),),
    )


def _caught_up(profile: Profile, subject: Subject) -> Optional[Shown]:
    groups = profile.broker.groups if profile.broker is not None else ()
    hot = on_hot_path(profile, subject.service) and subject.service.kind is not ServiceKind.FEED_HANDLER
    if profile.runbooks.lag is None or not groups or not hot:
        return None
    return Shown(
        "Wait until the backlog is worked off",
        "",
        f'[ "$(lag)" -le {profile.runbooks.lag_high} ] && echo CAUGHT-UP || lag',
        (_line(Kind.DONE, Condition.CONTAINS, "CAUGHT-UP", within_s=FLOW_S),),
    )


# -- the cold tier -----------------------------------------------------------------------------------------------------


def _run_failed() -> Shown:
    wanted = (_line(Kind.SYMPTOM, Condition.CONTAINS, "CRASHED", "FAILED", within_s=DATA_S),)
    return Shown("See how the newest run ended", "", "offload_last", wanted)


def _ask_for_run() -> Shown:
    why = "The watermark has held: the next run takes over all that the last one left, and need not wait to be due."
    return Shown("Ask for a run", why, "offload_now", (Expectation(Kind.EXPECTED, Condition.SUCCEEDS, within_s=20),))


def _run_completed() -> Shown:
    wanted = (_line(Kind.DONE, Condition.CONTAINS, "COMPLETED", within_s=RUN_S),)
    return Shown("Wait until it has completed", "", "offload_last", wanted)


# -- candles whose views are the database's own ------------------------------------------------------------------------


def _views(profile: Profile) -> tuple[Shown, ...]:
    query = _view_query(profile)
    if query is None:
        return ()
    return (
        Shown(
            "Compare the age of candles with that of what they are made of",
            "Candles that stand still while their source goes on have lost their view.",
            query,
            (_line(Kind.SYMPTOM, Condition.CONTAINS, "STALLED"),),
        ),
    )


def _views_again(profile: Profile) -> tuple[Shown, ...]:
    query = _view_query(profile)
    if query is None or profile.clickhouse is None:
        return ()
    database = profile.clickhouse.database
    listed = f"SELECT name, 'detached' FROM system.detached_tables WHERE database = '{database}'"
    return (
        Shown(
            "See which view is detached",
            "Attach it again (`ATTACH TABLE`), as a user who may. Rows of the meantime are not in its candles: make"
            " those windows anew from their source.",
            f'ch "{listed}"',
            (Expectation(Kind.EXPECTED, Condition.SUCCEEDS),),
        ),
        Shown(
            "Wait until candles follow again",
            "",
            query,
            (_line(Kind.DONE, Condition.LACKS, "STALLED", within_s=UP_S),),
        ),
    )


def _view_query(profile: Profile) -> Optional[str]:
    candles = [tier for tier in profile.tiers if tier.timeframe and tier.freshness and tier.store.value == "clickhouse"]
    if profile.clickhouse is None or not candles:
        return None
    tier = candles[0]
    hop = tier.freshness.hop if tier.freshness else ""
    column = tier.time_columns[hop].column
    sql = (
        f"SELECT if(max({column}) < now() - INTERVAL 60 SECOND, 'STALLED', 'GOES ON') "
        f"FROM {profile.clickhouse.database}.{tier.table}"
    )
    return f'ch "{sql}"'


def _line(kind: Kind, condition: Condition, *words: str, within_s: int = 0) -> Expectation:
    return Expectation(kind, condition, tuple(words), within_s)
