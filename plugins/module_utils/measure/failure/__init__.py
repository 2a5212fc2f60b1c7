# SPDX-License-Identifier: Apache-2.0
"""One fault on one service, from a steady platform to a steady platform, and what was measured on the way."""
