# SPDX-License-Identifier: Apache-2.0
"""ClickHouse to Iceberg on an object store, every row once across kill -9 of the program and loss of any store.

``config``     offload.json, typed
``cycle``      one run over all tables: what the scheduler calls
``maintain``   expire snapshots, compact small files, remove orphans
``exporter``   /metrics and /health
"""
