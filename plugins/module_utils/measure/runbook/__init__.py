# SPDX-License-Identifier: Apache-2.0
"""Whether a runbook does what it says: its own commands are run while the failure that it is about is there."""
