# SPDX-License-Identifier: Apache-2.0
"""Reads each contract section into its dataclass. What concerns two sections at once is in ``references``."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Optional, TypeVar

from .alerting import DURATION
from .model import (
    DEFAULT_SEGMENTS,
    HOT,
    MAX_DETECTION_S,
    Broker,
    Budget,
    Catalog,
    Cleanup,
    ClickHouse,
    Clock,
    CommandProbe,
    ConsumerGroup,
    Deployment,
    Disk,
    FailureMode,
    FaultAction,
    Freshness,
    HttpProbe,
    Lifecycle,
    Load,
    LossAllowed,
    Metrics,
    ObjectStore,
    Orchestrator,
    Platform,
    Probe,
    RecordFormat,
    RecoveryFrom,
    RecoveryPoint,
    Resolution,
    Resources,
    RuntimeKind,
    RuntimeSettings,
    Scale,
    Segment,
    Service,
    ServiceKind,
    SqlProbe,
    Store,
    TcpProbe,
    Tier,
    TimeColumn,
    Topics,
    Watermarks,
)
from .reader import Node

T = TypeVar("T")

PROBE_TIMEOUT_S = 3.0
RUNTIME_TIMEOUT_S = 10.0
QUERY_TIMEOUT_S = 10.0
_PROBE_KINDS = ("http", "tcp", "sql", "command")
_DEFAULT_SOCKETS = {RuntimeKind.DOCKER: "/var/run/docker.sock", RuntimeKind.SYSTEMD: "/run/systemd/private"}
_TIMEFRAME = re.compile(r"^[1-9]\d*[smhd]$")
_ABSOLUTE = re.compile(r"^/")
_BOOTSTRAP = re.compile(r"^[^\s,:]+:\d+(,[^\s,:]+:\d+)*$")


def read_platform(node: Node) -> Platform:
    """``k2_platform``."""
    runtime = node.choice("runtime", RuntimeKind)
    runtimes = node.named("runtimes", _read_runtime)
    if runtime.value not in runtimes and runtime in _DEFAULT_SOCKETS:
        runtimes[runtime.value] = RuntimeSettings(_DEFAULT_SOCKETS[runtime], RUNTIME_TIMEOUT_S)
    clock = node.opt("clock", _read_clock)
    return Platform(
        name=node.slug("name"),
        scale=node.choice("scale", Scale),
        runtime=runtime,
        runtimes=runtimes,
        clock=clock or Clock(host="localhost", max_skew_ms=5.0),
    )


def _read_runtime(name: str, node: Node) -> RuntimeSettings:
    kinds = {kind.value: kind for kind in RuntimeKind}
    if name not in kinds:
        node.reject("", "a runtime: " + ", ".join(kinds), f"{name!r}")
    default = _DEFAULT_SOCKETS.get(kinds[name]) if name in kinds else None
    return RuntimeSettings(
        socket=(node.opt_text("socket") or default) if default else node.text("socket"),
        timeout_s=node.number("timeout_s", low=0.1, high=600, unit="seconds", default=RUNTIME_TIMEOUT_S),
        project=node.opt_text("project"),
        start_command=node.opt_text("start_command"),
        networks=node.texts("networks"),
        subnet=node.opt_parsed("subnet", "an IPv4 network such as 172.28.0.0/16", ipaddress.IPv4Network),
    )


def _read_clock(node: Node) -> Clock:
    return Clock(
        host=node.text("host"),
        max_skew_ms=node.number("max_skew_ms", low=0.0, unit="milliseconds", default=5.0),
        exchanges_share_it=node.boolean("exchanges_share_it", default=False),
    )


def read_service(name: str, node: Node, default_runtime: RuntimeKind) -> Service:
    """One entry of ``k2_services``."""
    lifecycle = node.choice("lifecycle", Lifecycle, default=Lifecycle.LONG_RUNNING)
    return Service(
        name=name,
        runtime=node.choice("runtime", RuntimeKind, default=default_runtime),
        unit=node.opt_text("unit") or name,
        kind=node.choice("kind", ServiceKind),
        lifecycle=lifecycle,
        exchange=node.opt_text("exchange"),
        port=node.opt_port("port"),
        budget=node.opt("budget", _read_resources),
        limit=node.opt("limit", _read_resources),
        heap_bytes=node.opt_size("heap"),
        ipv4=node.opt_parsed("ipv4", "an IPv4 address", ipaddress.IPv4Address),
        labels=node.text_map("labels"),
        probe=node.opt("probe", _read_probe),
        metrics=node.opt("metrics", _read_metrics),
        tier=node.opt_text("tier"),
        restart_expected=node.boolean("restart_expected", default=lifecycle is Lifecycle.LONG_RUNNING),
        allow_faults=node.boolean("allow_faults", default=False),
        not_available=node.opt_text("not_available"),
    )


def _read_resources(node: Node) -> Resources:
    return Resources(cpus=node.opt_number("cpus", unit="cores"), memory_bytes=node.opt_size("memory"))


def _read_metrics(node: Node) -> Metrics:
    return Metrics(
        url=node.url("url"),
        job=node.text("job"),
        scraped_at=node.opt_url("scraped_at"),
        interval=node.opt_text("interval", pattern=DURATION, what="a duration such as 30s or 5m"),
    )


def _read_probe(node: Node) -> Optional[Probe]:
    timeout_s = node.number("timeout_s", low=0.05, high=60, unit="seconds", default=PROBE_TIMEOUT_S)
    given = [kind for kind in _PROBE_KINDS if node.has(kind)]
    if len(given) != 1:
        node.reject("", "exactly one of " + ", ".join(_PROBE_KINDS), ", ".join(given) or "none of them")
        return None

    def http(inner: Node) -> Probe:
        status = inner.integer("status", low=100, high=599, default=200)
        return HttpProbe(inner.url("url"), status, inner.opt_text("contains"), timeout_s)

    def tcp(inner: Node) -> Probe:
        host = inner.opt_text("host") or "127.0.0.1"
        return TcpProbe(host, inner.integer("port", low=1, high=65535), timeout_s)

    def sql(inner: Node) -> Probe:
        return SqlProbe(inner.text("query"), inner.opt_text("expect"), timeout_s)

    def command(inner: Node) -> Probe:
        return CommandProbe(inner.texts("argv", required=True), timeout_s)

    readers = {"http": http, "tcp": tcp, "sql": sql, "command": command}
    return node.opt(given[0], readers[given[0]])


def read_broker(node: Node) -> Broker:
    """``k2_broker``."""
    return Broker(
        bootstrap=node.text("bootstrap", pattern=_BOOTSTRAP, what="host:port, or several separated by commas"),
        topics=node.named("topics", _read_topics),
        dead_letter=node.opt_text("dead_letter"),
        groups=tuple(_finished(inner, _read_group) for inner in node.each("groups")),
    )


def _read_topics(name: str, node: Node) -> Topics:
    del name
    return Topics(
        raw=node.text("raw"),
        normalised=node.opt_text("normalised"),
        partitions=node.integer("partitions", low=1, default=1),
    )


def _read_group(node: Node) -> ConsumerGroup:
    return ConsumerGroup(
        name=node.text("name"), service=node.text("service"), topics=node.texts("topics", required=True)
    )


def read_clickhouse(node: Node) -> ClickHouse:
    """``k2_clickhouse``."""
    return ClickHouse(
        host=node.text("host"),
        port=node.integer("port", low=1, high=65535),
        secure=node.boolean("secure", default=False),
        username=node.text("username"),
        password=node.secret("password"),
        database=node.text("database"),
        timeout_s=node.number("timeout_s", low=0.1, high=3600, unit="seconds", default=QUERY_TIMEOUT_S),
    )


def read_tiers(root: Node) -> tuple[Tier, ...]:
    """``k2_tiers``."""
    return tuple(_finished(node, _read_tier) for node in root.each("k2_tiers"))


def _read_tier(node: Node) -> Tier:
    return Tier(
        name=node.slug("name"),
        store=node.choice("store", Store),
        table=node.text("table"),
        exchange=node.opt_text("exchange"),
        exchange_column=node.opt_text("exchange_column"),
        key_columns=node.texts("key_columns"),
        sequence_columns=node.texts("sequence_columns"),
        offset_columns=node.texts("offset_columns"),
        time_columns=node.named("time_columns", _read_time_column),
        price_column=node.opt_text("price_column"),
        size_column=node.opt_text("size_column"),
        valid_column=node.opt_text("valid_column"),
        timeframe=node.opt_text("timeframe", pattern=_TIMEFRAME, what="a span such as 1m, 4h or 1d"),
        source=node.opt_text("source"),
        columns=node.text_map("columns"),
        freshness=node.opt("freshness", _read_freshness),
        watermark=node.opt_text("watermark"),
    )


def _read_time_column(name: str, node: Node) -> TimeColumn:
    del name
    return TimeColumn(
        column=node.text("column"),
        resolution=node.choice("resolution", Resolution, default=Resolution.MICROSECOND),
    )


def _read_freshness(node: Node) -> Freshness:
    return Freshness(hop=node.text("hop"), max_age_s=node.number("max_age_s", unit="seconds"))


def read_watermarks(node: Node) -> Watermarks:
    """``k2_watermarks``."""
    return Watermarks(
        host=node.text("host"),
        port=node.integer("port", low=1, high=65535),
        database=node.text("database"),
        username=node.text("username"),
        password=node.secret("password"),
        table=node.text("table"),
        name_column=node.text("name_column"),
        time_column=node.text("time_column"),
        max_age_s=node.number("max_age_s", unit="seconds"),
        sources=node.texts("sources"),
        needs=node.texts("needs"),
    )


def read_orchestrator(node: Node) -> Orchestrator:
    """``k2_orchestrator``."""
    return Orchestrator(
        url=node.url("url"),
        deployments=tuple(_finished(inner, _read_deployment) for inner in node.each("deployments")),
        needs=node.texts("needs"),
    )


def _read_deployment(node: Node) -> Deployment:
    return Deployment(name=node.text("name"), interval_s=node.number("interval_s", low=1, unit="seconds"))


def read_object_store(node: Node) -> ObjectStore:
    """``k2_object_store``."""
    return ObjectStore(
        url=node.url("url"),
        bucket=node.text("bucket"),
        access_key=node.text("access_key"),
        clickhouse_url=node.opt_url("clickhouse_url"),
        catalog=node.opt("catalog", _read_catalog),
        secret_key=node.secret("secret_key"),
    )


def _read_catalog(node: Node) -> Catalog:
    return Catalog(
        host=node.text("host"),
        port=node.integer("port", low=1, high=65535),
        database=node.text("database"),
        username=node.text("username"),
        password=node.secret("password"),
        table=node.opt_text("table") or "iceberg_tables",
        name=node.opt_text("name"),
    )


def read_load(node: Node) -> Load:
    """``k2_load``."""
    segments = tuple(_finished(inner, _read_segment) for inner in node.each("segments"))
    return Load(
        rates=node.number_map("rates", low=0.001, high=1e6, unit="messages per second"),
        targets=node.number_map("targets", low=0.001, unit="milliseconds"),
        control_url=node.opt_url("control_url"),
        segments=segments or DEFAULT_SEGMENTS,
        stretch=node.number_map("stretch", low=0.001, unit="milliseconds"),
        records=node.named("records", _read_record_format),
        cleanup=node.opt("cleanup", _read_cleanup),
    )


def _read_segment(node: Node) -> Segment:
    return Segment(
        name=node.slug("name"),
        start=node.text("from"),
        end=node.text("to"),
        target_ms=node.number("target_ms", low=0.001, unit="milliseconds"),
        histogram=node.opt_text("histogram"),
    )


def _read_record_format(name: str, node: Node) -> RecordFormat:
    del name
    symbol = node.text("symbol")
    return RecordFormat(
        symbol=symbol,
        key=node.opt_text("key") or symbol,
        value=node.text("value"),
        headers=node.text_map("headers"),
    )


def _read_cleanup(node: Node) -> Cleanup:
    return Cleanup(username=node.text("username"), password=node.secret("password"))


def read_budget(node: Node) -> Budget:
    """``k2_budget``."""
    memory = node.opt_size("memory")
    if memory is None and not node.has("memory"):
        node.reject("memory", "an amount of memory such as 512M or 1.5GiB", "nothing")
    return Budget(
        cpus=node.number("cpus", unit="cores"),
        memory_bytes=memory or 0,
        brief_factor=node.number("brief_factor", low=1.0, default=2.0),
        elsewhere=node.named("elsewhere", lambda _, inner: _read_resources(inner)),
        disks=node.named("disks", lambda _, inner: _read_disk(inner)),
    )


def _read_disk(node: Node) -> Disk:
    growth = node.opt_size("growth_per_day")
    if growth is None and not node.has("growth_per_day"):
        node.reject("growth_per_day", "an amount of data such as 512M or 1.5GiB", "nothing")
    return Disk(path=node.text("path", pattern=_ABSOLUTE, what="an absolute path"), growth_per_day=growth or 0)


def read_failure_mode(name: str, node: Node, services: Mapping[str, Service]) -> FailureMode:
    """One entry of ``k2_failure_modes``; what its services are decides when it counts as recovered."""
    loss = node.choice("loss", LossAllowed, default=LossAllowed.NONE)
    named = node.texts("services", required=not node.has("not_applicable"))
    hot = any(services[each].tier == HOT for each in named if each in services)
    return FailureMode(
        name=name,
        services=named,
        action=node.choice("action", FaultAction),
        duration_s=node.number("duration_s", unit="seconds", default=0.0),
        max_recovery_s=node.number("max_recovery_s", unit="seconds"),
        recovery_from=node.choice("recovery_from", RecoveryFrom, default=RecoveryFrom.INJECTION),
        recovery_at=node.choice(
            "recovery_at", RecoveryPoint, default=RecoveryPoint.DRAINED if hot else RecoveryPoint.SERVED
        ),
        loss=loss,
        max_loss_s=node.number("max_loss_s", unit="seconds", default=0.0 if loss is LossAllowed.NONE else None),
        affects=node.texts("affects"),
        affects_exchanges=node.texts("affects_exchanges") if node.has("affects_exchanges") else None,
        not_applicable=node.opt_text("not_applicable"),
        max_detection_s=node.number("max_detection_s", unit="seconds", default=MAX_DETECTION_S),
    )


def read_metric_names(root: Node) -> Mapping[str, str]:
    """``k2_metric_names``: what the engine calls a metric -> what the platform calls it."""
    return root.text_map("k2_metric_names")


def _finished(node: Node, read: Callable[[Node], T]) -> T:
    result = read(node)
    node.finish()
    return result
