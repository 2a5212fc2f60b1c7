# SPDX-License-Identifier: Apache-2.0
"""Dashboards and data sources of Grafana, through its provisioning files or its API."""
