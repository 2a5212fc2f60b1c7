# SPDX-License-Identifier: Apache-2.0
"""What the engine knows of a platform. All of it comes from inventory variables; nothing here names a real thing.

One dataclass per contract section (``k2_platform`` -> ``Platform`` ...). Times are seconds unless the name says
otherwise, memory is bytes, CPU is cores. Sections that a platform does not need are None or empty.
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Optional, Union

from .alerting import Alerting
from .oncall import Runbooks
from .secret import MASK, secret

# What ``tier`` of a service says where records pass it on their way to the candles.
HOT = "hot"
# Within which an alert has to tell of a failure mode that says nothing else.
MAX_DETECTION_S = 300.0


class Scale(enum.Enum):
    """How much of the real thing the platform is; only FULL can be signed off."""

    FULL = "full"
    LAB = "lab"


class RuntimeKind(enum.Enum):
    """What starts and watches a service's process."""

    SUPERVISOR = "supervisor"
    DOCKER = "docker"
    SYSTEMD = "systemd"


class ServiceKind(enum.Enum):
    """What part a service plays; decides which measures apply to it. ``service`` makes no claim."""

    SERVICE = "service"
    SOURCE = "source"
    FEED_HANDLER = "feed-handler"
    BROKER = "broker"
    PROCESSOR = "processor"
    DATABASE = "database"
    CACHE = "cache"
    OBJECT_STORE = "object-store"
    ORCHESTRATOR = "orchestrator"
    WORKER = "worker"
    PROXY = "proxy"
    MONITORING = "monitoring"
    DASHBOARD = "dashboard"
    CONSOLE = "console"


class Lifecycle(enum.Enum):
    """Whether a service runs on (``long-running``) or does its work once and exits 0 (``one-shot``)."""

    LONG_RUNNING = "long-running"
    ONE_SHOT = "one-shot"


class Store(enum.Enum):
    """Which section says how to reach a tier."""

    BROKER = "broker"
    CLICKHOUSE = "clickhouse"
    OBJECT_STORE = "object_store"

    @property
    def section(self) -> str:
        """The contract section this store refers to."""
        return f"k2_{self.value}"


class Resolution(enum.Enum):
    """How fine a time column is; what is coarser than a millisecond cannot carry a latency."""

    MICROSECOND = "us"
    MILLISECOND = "ms"
    SECOND = "s"


class FaultAction(enum.Enum):
    """How a failure mode is brought about."""

    KILL = "kill"
    RESTART = "restart"
    STOP = "stop"
    PAUSE = "pause"
    DISCONNECT = "disconnect"
    CUT_SOURCE = "cut_source"
    KILL_RUN = "kill_run"


class LossAllowed(enum.Enum):
    """Which loss a failure mode may cause."""

    NONE = "none"
    OUTAGE = "outage"


class RecoveryFrom(enum.Enum):
    """Time zero of a recovery."""

    INJECTION = "injection"
    HEAL = "heal"


class RecoveryPoint(enum.Enum):
    """When a platform counts as recovered: it serves again, its backlog is drained, or the next run caught up."""

    SERVED = "served"
    DRAINED = "drained"
    NEXT_RUN = "next_run"


@dataclass(frozen=True)
class RuntimeSettings:
    """How to reach one runtime.

    ``project`` narrows Docker to the containers of one Compose project. ``start_command`` brings up the runtime with
    all its services; it is told when the runtime itself does not answer. ``networks`` are the names that the network
    of the services may have, the first that is there counts, and ``subnet`` is what it should span.
    """

    socket: str
    timeout_s: float
    project: Optional[str] = None
    start_command: Optional[str] = None
    networks: tuple[str, ...] = ()
    subnet: Optional[str] = None


@dataclass(frozen=True)
class Clock:
    """The host whose clock is the reference, and how far the controller's may lie from it.

    ``exchanges_share_it`` says that the sources stamp their records by the platform's own clock, as a simulator on the
    same host does; the clock of a real exchange is another one, by an unknown amount.
    """

    host: str
    max_skew_ms: float
    exchanges_share_it: bool = False


@dataclass(frozen=True)
class Platform:
    """``k2_platform``."""

    name: str
    scale: Scale
    runtime: RuntimeKind
    runtimes: Mapping[str, RuntimeSettings]
    clock: Clock


@dataclass(frozen=True)
class Resources:
    """An amount of CPU (cores) and memory (bytes); None where nothing is stated."""

    cpus: Optional[float]
    memory_bytes: Optional[int]


@dataclass(frozen=True)
class HttpProbe:
    """Ready when GET ``url`` answers ``status``, and the body contains ``contains`` if that is given."""

    url: str
    status: int
    contains: Optional[str]
    timeout_s: float


@dataclass(frozen=True)
class TcpProbe:
    """Ready when ``host:port`` accepts a connection."""

    host: str
    port: int
    timeout_s: float


@dataclass(frozen=True)
class SqlProbe:
    """Ready when ClickHouse answers ``query``, with ``expect`` as its first value if that is given."""

    query: str
    expect: Optional[str]
    timeout_s: float


@dataclass(frozen=True)
class CommandProbe:
    """Ready when ``argv`` exits 0 on the target."""

    argv: tuple[str, ...]
    timeout_s: float


Probe = Union[HttpProbe, TcpProbe, SqlProbe, CommandProbe]


@dataclass(frozen=True)
class Metrics:
    """Where a service's Prometheus metrics are and the job that scrapes them.

    ``scraped_at`` is the same address as Prometheus reaches it, ``interval`` a Prometheus duration.
    """

    url: str
    job: str
    scraped_at: Optional[str] = None
    interval: Optional[str] = None


@dataclass(frozen=True)
class Service:
    """One entry of ``k2_services``. ``unit`` is the runtime's name for it (program, container, unit).

    ``heap_bytes`` is the most that its Java machine may take as heap (-Xmx), ``ipv4`` its address on the network of
    its runtime, ``labels`` are what the runtime should know it by.
    ``not_available`` holds the reason where this installation cannot have the service: it is listed, never looked at.
    """

    name: str
    runtime: RuntimeKind
    unit: str
    kind: ServiceKind
    lifecycle: Lifecycle
    exchange: Optional[str]
    port: Optional[int]
    budget: Optional[Resources]
    limit: Optional[Resources]
    heap_bytes: Optional[int]
    ipv4: Optional[str]
    labels: Mapping[str, str]
    probe: Optional[Probe]
    metrics: Optional[Metrics]
    tier: Optional[str]
    restart_expected: bool
    allow_faults: bool
    not_available: Optional[str]


@dataclass(frozen=True)
class Topics:
    """The topics of one exchange (source) in the broker."""

    raw: str
    normalised: Optional[str]
    partitions: int


@dataclass(frozen=True)
class ConsumerGroup:
    """A consumer group whose lag counts, the service behind it and what it reads."""

    name: str
    service: str
    topics: tuple[str, ...]


@dataclass(frozen=True)
class Broker:
    """``k2_broker``."""

    bootstrap: str
    topics: Mapping[str, Topics]
    dead_letter: Optional[str]
    groups: tuple[ConsumerGroup, ...]


@dataclass(frozen=True)
class ClickHouse:
    """``k2_clickhouse``."""

    host: str
    port: int
    secure: bool
    username: str
    database: str
    timeout_s: float
    password: str = secret()


@dataclass(frozen=True)
class TimeColumn:
    """The column that holds when a record passed a hop, and how fine it is."""

    column: str
    resolution: Resolution


@dataclass(frozen=True)
class Freshness:
    """The newest value of hop ``hop`` may be this old while data flows; age is taken on the store's own clock."""

    hop: str
    max_age_s: float


@dataclass(frozen=True)
class Tier:
    """One entry of ``k2_tiers``: a place every record passes, in the order of the data path.

    ``exchange`` is set where the table holds a single exchange, else ``exchange_column`` tells them apart.
    ``columns`` maps what the tier's values mean (``price``, ``open``...) to a column or SQL expression. In an object
    store ``table`` is an Iceberg table's path in the bucket or, with a catalog, its namespace and name;
    ``watermark`` is what ``k2_watermarks`` calls it.
    """

    name: str
    store: Store
    table: str
    exchange: Optional[str]
    exchange_column: Optional[str]
    key_columns: tuple[str, ...]
    sequence_columns: tuple[str, ...]
    offset_columns: tuple[str, ...]
    time_columns: Mapping[str, TimeColumn]
    price_column: Optional[str]
    size_column: Optional[str]
    valid_column: Optional[str]
    timeframe: Optional[str]
    source: Optional[str]
    columns: Mapping[str, str]
    freshness: Optional[Freshness]
    watermark: Optional[str] = None


@dataclass(frozen=True)
class Watermarks:
    """``k2_watermarks``: the table that says how far the cold tier has come, and the services it takes to move it."""

    host: str
    port: int
    database: str
    username: str
    table: str
    name_column: str
    time_column: str
    max_age_s: float
    sources: tuple[str, ...]
    needs: tuple[str, ...]
    password: str = secret()


@dataclass(frozen=True)
class Deployment:
    """A scheduled flow and how often it must complete."""

    name: str
    interval_s: float


@dataclass(frozen=True)
class Orchestrator:
    """``k2_orchestrator``, and the services it takes to keep its schedule."""

    url: str
    deployments: tuple[Deployment, ...]
    needs: tuple[str, ...]


@dataclass(frozen=True)
class Catalog:
    """An Iceberg SQL (JDBC) catalog in Postgres: which file is the present metadata of each table.

    ``name`` picks one where the table holds several catalogs.
    """

    host: str
    port: int
    database: str
    username: str
    table: str
    name: Optional[str]
    password: str = secret()


@dataclass(frozen=True)
class ObjectStore:
    """``k2_object_store``: an S3 endpoint. ``clickhouse_url`` is its address as ClickHouse reaches it."""

    url: str
    bucket: str
    access_key: str
    secret_key: str = secret()
    clickhouse_url: Optional[str] = None
    catalog: Optional[Catalog] = None


@dataclass(frozen=True)
class Segment:
    """A stretch of the data path, from moment ``start`` to moment ``end``, and the p99 it should keep (milliseconds).

    A moment is a hop of some tier's ``time_columns``, a tier (when its rows were written), or ``candles`` (when the
    last of the candle tiers was committed). ``histogram`` is the engine's name (``k2_metric_names``) of a Prometheus
    histogram in seconds that tells the segment where columns cannot.
    """

    name: str
    start: str
    end: str
    target_ms: float
    histogram: Optional[str]


# The moment that ends the path: the commit of the last candle tier.
CANDLES = "candles"
# The data path of a market-data platform and the budget of its parts (milliseconds); a profile may tell its own.
DEFAULT_SEGMENTS = (
    Segment("exchange_to_handler", "exchange", "received", 1.0, None),
    Segment("handler_to_broker", "received", "broker", 2.0, "handler_ack_seconds"),
    Segment("broker_to_raw", "broker", "raw", 3.0, None),
    Segment("raw_to_bronze", "raw", "bronze", 1.0, None),
    Segment("bronze_to_silver", "bronze", "silver", 3.0, None),
    Segment("silver_to_gold", "silver", CANDLES, 1.0, None),
)


@dataclass(frozen=True)
class RecordFormat:
    """How a record of one exchange is written to its raw topic by a load: templates with ``$name`` placeholders.

    ``symbol`` is reserved for loads, so that what they leave can be told apart and removed.
    """

    symbol: str
    key: str
    value: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Cleanup:
    """A ClickHouse user that may delete the rows of a load's reserved symbols."""

    username: str
    password: str = secret()


@dataclass(frozen=True)
class Load:
    """``k2_load``: rates (messages per second) by load name, and the p99 each must keep (milliseconds).

    ``stretch`` holds goals for the whole path that are reported and block nothing (milliseconds, by load).
    """

    rates: Mapping[str, float]
    targets: Mapping[str, float]
    control_url: Optional[str]
    segments: tuple[Segment, ...]
    stretch: Mapping[str, float]
    records: Mapping[str, RecordFormat]
    cleanup: Optional[Cleanup]

    @property
    def by_rate(self) -> tuple[str, ...]:
        """The loads that have a target, slowest first."""
        return tuple(sorted(self.targets, key=lambda name: self.rates[name]))


@dataclass(frozen=True)
class Disk:
    """A directory whose size is watched, and by how much the plan lets it grow in a day (bytes)."""

    path: str
    growth_per_day: int


@dataclass(frozen=True)
class Budget:
    """``k2_budget``: what the whole platform may use; ``brief_factor`` times a budget is tolerated briefly.

    ``elsewhere`` holds what other documents state as the same total, by document: only to be told where they differ.
    """

    cpus: float
    memory_bytes: int
    brief_factor: float
    elsewhere: Mapping[str, Resources]
    disks: Mapping[str, Disk] = field(default_factory=dict)


@dataclass(frozen=True)
class FailureMode:
    """One entry of ``k2_failure_modes``. ``not_applicable`` holds the reason where the platform has no such part.

    ``affects`` are the services that may fail besides those that are broken. ``affects_exchanges`` are the exchanges
    whose flow may stop; None where that follows from the part that the broken service plays (``profile.failures``).
    """

    name: str
    services: tuple[str, ...]
    action: FaultAction
    duration_s: float
    max_recovery_s: float
    recovery_from: RecoveryFrom
    recovery_at: RecoveryPoint
    loss: LossAllowed
    max_loss_s: float
    affects: tuple[str, ...]
    affects_exchanges: Optional[tuple[str, ...]]
    not_applicable: Optional[str]
    max_detection_s: float = MAX_DETECTION_S


@dataclass(frozen=True)
class Finding:
    """Something in the profile that is readable but contradicts itself: reported, not refused."""

    path: str
    text: str


@dataclass(frozen=True)
class Profile:
    """A platform as its inventory describes it."""

    platform: Platform
    services: Mapping[str, Service]
    broker: Optional[Broker]
    clickhouse: Optional[ClickHouse]
    tiers: tuple[Tier, ...]
    watermarks: Optional[Watermarks]
    orchestrator: Optional[Orchestrator]
    object_store: Optional[ObjectStore]
    load: Optional[Load]
    budget: Optional[Budget]
    failure_modes: Mapping[str, FailureMode]
    alerting: Optional[Alerting]
    metric_names: Mapping[str, str]
    runbooks: Runbooks = field(default_factory=Runbooks)

    @property
    def exchanges(self) -> tuple[str, ...]:
        """The exchanges (sources) of the platform, from its topics and services, sorted."""
        named = {service.exchange for service in self.services.values() if service.exchange}
        return tuple(sorted(named | set(self.broker.topics if self.broker else ())))

    def as_dict(self) -> dict[str, Any]:
        """The profile as plain data with secrets masked, fit for evidence."""
        plain = _masked(self)
        assert isinstance(plain, dict)
        return plain

    def digest(self) -> str:
        """``sha256:`` of the profile without its secrets: equal for equal meaning, whatever the variables' spelling."""
        canonical = json.dumps(self.as_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return "sha256:" + hashlib.sha256(canonical.encode("ascii")).hexdigest()


def _masked(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: MASK if f.metadata.get("secret") else _masked(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): _masked(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_masked(item) for item in value]
    return value
