# SPDX-License-Identifier: Apache-2.0
"""The ledger: every record between two points of the broker accounted for in every tier."""
