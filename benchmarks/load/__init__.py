# SPDX-License-Identifier: Apache-2.0
"""How fast k2_load sends without being late, beside others of its kind on the same broker."""
