# SPDX-License-Identifier: Apache-2.0
"""The life of a lab: prepare, check, start by readiness, stop; called by role `lab`, one process per call."""
