# SPDX-License-Identifier: Apache-2.0
"""Layer 0: errors, clocks and small value types. Imports nothing of this collection."""
