# SPDX-License-Identifier: Apache-2.0
"""Alerts are proven: a fault is held, and its alerts are watched until they fire, arrive and resolve."""
