"""The configuration the engine is started with: system logs on, everything of it bounded for a small machine."""

from __future__ import annotations

from typing import Final

CONFIG_NAME: Final = "engine-config.xml"

# In force for every request unless it says otherwise. async_insert is 1 by default in this engine: an insert would be
# acknowledged after a wait of up to 200 ms that gathers others, which is neither the lab's latency nor its durability.
SERVER_SETTINGS: Final[dict[str, str]] = {
    "async_insert": "0",
    "max_memory_usage": "1500000000",
}

_LOG_TTL: Final = "event_date + INTERVAL 3 DAY"


def engine_config() -> str:
    """The XML given to chdb as `config-file`."""
    logs = "\n".join(
        f"""  <{name}>
    <database>system</database>
    <table>{name}</table>
    <partition_by>event_date</partition_by>
    <ttl>{_LOG_TTL}</ttl>
    <flush_interval_milliseconds>7500</flush_interval_milliseconds>
    <max_size_rows>65536</max_size_rows>
    <reserved_size_rows>1024</reserved_size_rows>
  </{name}>"""
        for name in ("query_log", "part_log")
    )
    return f"""<clickhouse>
  <timezone>UTC</timezone>
{logs}
</clickhouse>
"""
