# SPDX-License-Identifier: Apache-2.0
"""Layer 1: the typed model of the inventory variables that describe a platform."""
