# SPDX-License-Identifier: Apache-2.0
"""The end of the alert path: a webhook for Alertmanager that keeps each notification, so that delivery can be proven.

``log``     the notifications on disk: one JSON line each, synced before the answer, bounded by rotation
``server``  POST / takes a notification; GET /notifications, /health and /metrics tell
"""
