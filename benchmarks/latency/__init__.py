# SPDX-License-Identifier: Apache-2.0
"""What ``k2_latency`` costs the database: ``python -m benchmarks.latency``."""
