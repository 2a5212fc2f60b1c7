# SPDX-License-Identifier: Apache-2.0
"""Putting monitoring there: staged, checked, verified, taken back where it does not hold, and only what is ours."""
