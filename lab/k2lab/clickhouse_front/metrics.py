# SPDX-License-Identifier: Apache-2.0
"""`/metrics` as ClickHouse's own Prometheus exporter words it, and the asynchronous metrics chdb does not have.

Names, help texts and types follow src/Server/PrometheusMetricsWriter.cpp: profile events and errors are counters,
metrics and asynchronous metrics gauges. The engine writes the exposition itself (FORMAT Prometheus).
"""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from typing import Final

# chdb has no system.asynchronous_metrics; this view has those which its other system tables can tell, by the same
# names. It is made anew at each start, because chdb keeps the database `system` in memory.
CREATE_ASYNCHRONOUS_METRICS: Final = """
CREATE OR REPLACE VIEW system.asynchronous_metrics AS
SELECT 'Uptime' AS metric, toFloat64(uptime()) AS value, 'Seconds since the start of the engine.' AS description
UNION ALL SELECT 'NumberOfDatabases', toFloat64(count()), 'Number of databases.' FROM system.databases
UNION ALL SELECT 'NumberOfTables', toFloat64(count()), 'Number of tables in all databases but system.'
    FROM system.tables WHERE database NOT IN ('system', 'INFORMATION_SCHEMA', 'information_schema')
UNION ALL SELECT 'MaxPartCountForPartition', toFloat64(max(parts)), 'Most active parts in one partition of any table.'
    FROM (SELECT count() AS parts FROM system.parts WHERE active GROUP BY database, table, partition_id)
UNION ALL SELECT metric, value, description FROM
(
    SELECT
        ['TotalPartsOfMergeTreeTables', 'TotalRowsOfMergeTreeTables', 'TotalBytesOfMergeTreeTables'] AS metrics,
        [count(), sum(rows), sum(bytes_on_disk)] AS totals,
        ['Active parts of all MergeTree tables.', 'Rows in them.', 'Bytes on disk of them.'] AS descriptions
    FROM system.parts WHERE active
)
ARRAY JOIN metrics AS metric, totals::Array(Float64) AS value, descriptions AS description
"""

_EXPORT: Final = """
SELECT name, value, help, type FROM
(
    SELECT
        'ClickHouseProfileEvents_' || event AS name, toFloat64(value) AS value, description AS help, 'counter' AS type
    FROM system.events
    UNION ALL
    SELECT 'ClickHouseMetrics_' || metric, toFloat64(value), description, 'gauge'
    FROM system.metrics
    UNION ALL
    SELECT 'ClickHouseAsyncMetrics_' || metric, value, description, 'gauge'
    FROM (SELECT metric, value, description FROM system.asynchronous_metrics UNION ALL {process})
    UNION ALL
    SELECT
        'ClickHouseErrorMetric_' || name, toFloat64(sum(value)),
        'The number of ' || name || ' errors since last server restart', 'counter'
    FROM system.errors
    GROUP BY name
)
ORDER BY name
"""
EXPORT_SETTINGS: Final[dict[str, str]] = {"system_events_show_zero_values": "1", "log_queries": "0"}


def export_query() -> str:
    """The statement whose answer in FORMAT Prometheus is the body of `/metrics`."""
    # An integer beyond 32 bits has no type in common with a fraction: each is made a Float64 by itself.
    rows = (f"SELECT '{name}', toFloat64({value}), '{help_text}'" for name, value, help_text in _process_metrics())
    return _EXPORT.format(process=" UNION ALL ".join(rows))


def _process_metrics() -> list[tuple[str, float, str]]:
    """What ClickHouse takes from the operating system: bytes, seconds of CPU, load."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()
    virtual, resident, shared = (int(count) * resource.getpagesize() for count in pages[:3])
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return [
        ("MemoryVirtual", virtual, "Virtual memory of the process, bytes."),
        ("MemoryResident", resident, "Resident memory of the process, bytes."),
        ("MemoryShared", shared, "Shared memory of the process, bytes."),
        ("ProcessUserTime", usage.ru_utime, "CPU time of the process in user mode, seconds since its start."),
        ("ProcessSystemTime", usage.ru_stime, "CPU time of the process in kernel mode, seconds since its start."),
        ("OSUptime", time.clock_gettime(time.CLOCK_BOOTTIME), "Seconds since the machine started."),
        ("LoadAverage1", os.getloadavg()[0], "The load of the machine over one minute."),
    ]
