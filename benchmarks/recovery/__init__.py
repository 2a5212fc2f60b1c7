# SPDX-License-Identifier: Apache-2.0
"""Whether the bounds of an outage hold the truth, how far apart they are, and what the sampling costs."""
