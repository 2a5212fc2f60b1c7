# SPDX-License-Identifier: Apache-2.0
"""Create the lab's topics: ``python -m k2lab.topics --bootstrap 127.0.0.1:23020 --topic trades:4``. Safe to repeat."""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable, Mapping

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from k2lab.common import options
from k2lab.common.errors import LabError, run_program
from k2lab.common.logs import configure_logging

log = logging.getLogger("k2lab.topics")

ATTEMPT_S = 1.0
CREATE_TIMEOUT_S = 10.0


def wait_for_broker(
    bootstrap: str, timeout_s: float, still_worth_it: Callable[[], None] = lambda: None
) -> tuple[AdminClient, dict[str, int]]:
    """An admin client of a broker that answers, and its topics with their numbers of partitions.

    still_worth_it is called between attempts and may raise to give up early. Raises LabError after timeout_s.
    """
    # Short back-off: a broker that starts is reached soon after its first listen. The client's own log lines about
    # refused connections would only repeat what the deadline says.
    admin = AdminClient(
        {"bootstrap.servers": bootstrap, "reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 200, "log_level": 0}
    )
    deadline = time.monotonic() + timeout_s
    while True:
        still_worth_it()
        try:
            metadata = admin.list_topics(timeout=ATTEMPT_S)
            if metadata.brokers:
                return admin, {name: len(topic.partitions) for name, topic in metadata.topics.items()}
            seen = "no broker registered yet"
        except KafkaException as error:
            seen = str(error.args[0])
        if time.monotonic() > deadline:
            raise LabError(f"a Kafka broker at {bootstrap} within {timeout_s:.0f} s", seen, "see the broker's log")
        time.sleep(0.05)


def ensure_topics(admin: AdminClient, existing: Mapping[str, int], topics: Mapping[str, int]) -> list[str]:
    """Create the topics (name to partitions) that do not exist yet; returns those created, once a client sees them all.

    Raises LabError when a topic exists with another number of partitions: Kafka cannot take partitions away, and adding
    some would move keys.
    """
    for name, partitions in topics.items():
        if existing.get(name, partitions) != partitions:
            raise LabError(
                f"topic {name} with {partitions} partitions",
                f"{existing[name]} partitions",
                "set its partitions back, or begin anew: lab-down with k2_lab_purge=true",
            )
    missing = [NewTopic(name, partitions, 1) for name, partitions in topics.items() if name not in existing]
    if not missing:
        return []
    created = []
    for name, future in admin.create_topics(missing, operation_timeout=CREATE_TIMEOUT_S).items():
        try:
            future.result(CREATE_TIMEOUT_S)
            created.append(name)
        except KafkaException as error:
            # Somebody else was faster: the topic is there, which is what was asked for.
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise LabError(f"topic {name} to be created", str(error.args[0]), "see the broker's log") from error
    _wait_until_seen(admin, {new.topic for new in missing})
    return created


def _wait_until_seen(admin: AdminClient, names: set[str]) -> None:
    """A topic is created when the controller has written it down; the broker answers for it a moment later."""
    deadline = time.monotonic() + CREATE_TIMEOUT_S
    while unseen := names - admin.list_topics(timeout=CREATE_TIMEOUT_S).topics.keys():
        if time.monotonic() > deadline:
            raise LabError(
                f"the broker to list a created topic within {CREATE_TIMEOUT_S:.0f} s",
                f"{', '.join(sorted(unseen))} still missing",
                "see the broker's log",
            )
        time.sleep(0.02)


def topic(text: str) -> tuple[str, int]:
    """An argparse type: name:partitions."""
    name, _, partitions = text.rpartition(":")
    if not name or not partitions.isdecimal() or int(partitions) < 1:
        raise argparse.ArgumentTypeError(f"expected name:partitions, got {text!r}")
    return name, int(partitions)


def main(arguments: list[str] | None = None) -> int:
    """Create topics; returns the exit code."""
    parser = argparse.ArgumentParser(prog="k2lab.topics", description="Create the lab's topics; safe to repeat.")
    parser.add_argument("--bootstrap", type=options.host_port, required=True)
    parser.add_argument("--topic", type=topic, action="append", required=True, metavar="NAME:PARTITIONS")
    parser.add_argument("--timeout", type=options.positive, default=30.0, help="seconds to wait for the broker")
    read = parser.parse_args(arguments)
    configure_logging()
    admin, existing = wait_for_broker(read.bootstrap, read.timeout)
    created = ensure_topics(admin, existing, dict(read.topic))
    log.info("%d topics created, %d there already", len(created), len(read.topic) - len(created))
    return 0


if __name__ == "__main__":
    run_program(main)
