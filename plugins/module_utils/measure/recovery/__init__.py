# SPDX-License-Identifier: Apache-2.0
"""Recovery: how long what was broken stayed broken, and what it cost."""
