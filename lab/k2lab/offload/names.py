# SPDX-License-Identifier: Apache-2.0
"""Names by which Prefect knows the offload."""

from __future__ import annotations

CONFIG_VARIABLE = "K2_OFFLOAD_CONFIG"
OFFLOAD_FLOW = "iceberg-offload-main"
OFFLOAD_DEPLOYMENT = "iceberg-offload-15min"
MAINTENANCE_FLOW = "iceberg-maintenance-main"
MAINTENANCE_DEPLOYMENT = "iceberg-maintenance-daily"
# Name of the state of a run that another one made needless.
SKIPPED = "Skipped"
