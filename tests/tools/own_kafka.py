# SPDX-License-Identifier: Apache-2.0
"""A Kafka of a test or a benchmark alone: one process, from the jars the lab uses."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import confluent_kafka
from confluent_kafka.admin import AdminClient

from k2lab.provision.kafka import kafka_home
from k2lab.provision.paths import Paths

SERVER_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{client}
controller.listener.names=CONTROLLER
log.dirs={data}
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
auto.create.topics.enable=false
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=400
"""


@dataclass(frozen=True)
class Kafka:
    """A broker that runs; whoever kills its process has killed it."""

    bootstrap: str
    process: subprocess.Popen[bytes]


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"within {seconds} s: {what}"
        time.sleep(0.05)


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [opened.getsockname()[1] for opened in sockets]


def _answers(bootstrap: str) -> bool:
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    try:
        return bool(admin.list_topics(timeout=1).brokers)
    except confluent_kafka.KafkaException:
        return False


@contextlib.contextmanager
def kafka(directory: Path) -> Iterator[Kafka]:
    """Start a broker with its data and log in `directory`; it ends with the block."""
    libs = kafka_home(Paths.discover())
    assert libs.is_dir(), f"no Kafka in {libs}: run make setup"
    client, controller = free_ports(2)
    properties = directory / "server.properties"
    properties.write_text(
        SERVER_PROPERTIES.format(client=client, controller=controller, data=directory / "data"), encoding="utf-8"
    )
    java = ["java", "-Xmx512m", "-XX:+UseSerialGC", "-cp", f"{libs}/*"]
    cluster = "AAAAAAAAAAAAAAAAAAAAAQ"
    storage = ["kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties)]
    subprocess.run([*java, *storage], check=True, timeout=60, stdout=subprocess.DEVNULL)
    with (directory / "kafka.log").open("wb") as log:
        broker = subprocess.Popen([*java, "kafka.Kafka", str(properties)], stdout=log, stderr=log)
    try:
        wait_until(lambda: _answers(f"127.0.0.1:{client}"), 60, f"Kafka answers, see {directory}/kafka.log")
        yield Kafka(f"127.0.0.1:{client}", broker)
    finally:
        broker.kill()
        broker.wait(10)
