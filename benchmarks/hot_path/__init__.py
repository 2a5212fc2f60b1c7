# SPDX-License-Identifier: Apache-2.0
"""What the lab's hot path takes: latency by rate, CPU and memory by service, highest rate without growing lag."""
