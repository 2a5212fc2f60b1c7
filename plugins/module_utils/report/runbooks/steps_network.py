# SPDX-License-Identifier: Apache-2.0
"""Commands about a network: what is cut off, from whom, and how it is put back."""

from __future__ import annotations

import json
import shlex
from typing import Optional

from ...measure.runbook.expectation import Condition, Expectation, Kind
from ...profile.model import Profile, RuntimeKind, Service, ServiceKind
from .commands import project_network
from .shown import Shown, Subject, line

FILTER = (
    "packet_filter() { for tool in iptables iptables-nft iptables-legacy; do"
    ' if $inside "$tool" -S INPUT >/dev/null 2>&1; then $inside "$tool" "$@"; return; fi; done;'
    ' echo "no packet filter works here: are you root?" >&2; return 1; }'
)


def cut_off(subject: Subject) -> Shown:
    """Whether it is cut off its peers."""
    if subject.service.runtime is RuntimeKind.DOCKER:
        command = "docker inspect -f 'networks {{len .NetworkSettings.Networks}}' " + subject.unit
        return Shown(
            "See whether it is on its network", "", command, (line(Kind.SYMPTOM, Condition.CONTAINS, "networks 0"),)
        )
    port = subject.service.port
    return Shown(
        "See whether a packet filter drops what goes to its port",
        "As root.",
        f"{FILTER}\npacket_filter -S INPUT | grep -E -- '--[ds]port {port}\\b' || echo 'no rule about port {port}'",
        (line(Kind.SYMPTOM, Condition.CONTAINS, "DROP"),),
    )


def reconnect(profile: Profile, subject: Subject) -> Shown:
    """Have its peers reach it again."""
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
    wanted = (line(Kind.EXPECTED, Condition.CONTAINS, "no such rule is left"),)
    return Shown("Remove the rules that drop its packets", "As root. Tell whoever made them.", command, wanted)


def _host(profile: Profile, service: Service) -> Optional[str]:
    """The address that others reach a database of records by, where it is one on the containers' network."""
    store = profile.clickhouse
    if service.kind is not ServiceKind.DATABASE or store is None or store.port != service.port:
        return None
    return store.host if store.host.count(".") == 3 and not store.host.startswith("127.") else None


def source_refuses(profile: Profile, subject: Subject) -> Shown:
    """Whether it is cut off its source."""
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
            (line(Kind.SYMPTOM, Condition.CONTAINS, "refuses"),),
        )
    rules = f"{_inside(subject)}{FILTER}\npacket_filter -S INPUT | grep -e '-j DROP' || echo 'no rule drops anything'"
    why = "As root. Without such a rule the way to the exchange is broken elsewhere: ask for its host by name and port."
    return Shown(
        "See whether a packet filter cuts it off", why, rules, (line(Kind.SYMPTOM, Condition.CONTAINS, "DROP"),)
    )


def source_again(profile: Profile, subject: Subject) -> Shown:
    """Have its source reach it again."""
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
