# SPDX-License-Identifier: Apache-2.0
"""The configuration the engine is started with: system logs on, everything of it bounded for a small machine."""

from __future__ import annotations

from typing import Final

CONFIG_NAME: Final = "engine-config.xml"

# In force for every request unless it says otherwise. async_insert is 1 by default in this engine: an insert would be
# acknowledged after a wait of up to 200 ms that gathers others, which is neither the lab's latency nor its durability.
SERVER_SETTINGS: Final[dict[str, str]] = {
    "async_insert": "0",
    "implicit_select": "0",  # chdb's own default would read a misspelt keyword as a column
    "max_memory_usage": "1500000000",  # bytes, of one query
    "max_result_bytes": "268435456",  # an answer is held in memory before it is sent
}

_LOG_TTL: Final = "event_date + INTERVAL 3 DAY"
# Merges and mutations that may be under way at once, for each of the pool's two threads. Where none is free the engine
# tries a table again only after ten seconds and more, and whoever waits for a mutation of it waits as long.
_TASKS_PER_THREAD: Final = 16


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
  <max_server_memory_usage>3000000000</max_server_memory_usage>
  <mark_cache_size>67108864</mark_cache_size>
  <index_mark_cache_size>16777216</index_mark_cache_size>
  <primary_index_cache_size>67108864</primary_index_cache_size>
  <uncompressed_cache_size>0</uncompressed_cache_size>
  <compiled_expression_cache_size>33554432</compiled_expression_cache_size>
  <background_pool_size>2</background_pool_size>
  <background_merges_mutations_concurrency_ratio>{_TASKS_PER_THREAD}</background_merges_mutations_concurrency_ratio>
  <background_schedule_pool_size>4</background_schedule_pool_size>
  <background_common_pool_size>2</background_common_pool_size>
  <background_move_pool_size>1</background_move_pool_size>
  <background_fetches_pool_size>1</background_fetches_pool_size>
{logs}
</clickhouse>
"""
