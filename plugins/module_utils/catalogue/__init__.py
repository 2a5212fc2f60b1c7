# SPDX-License-Identifier: Apache-2.0
"""What is watched and why: alerts, tied to failure modes, runbooks and dashboards. Read on the controller."""
