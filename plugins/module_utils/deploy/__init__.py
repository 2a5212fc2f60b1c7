# SPDX-License-Identifier: Apache-2.0
"""What this tool owns beside others': staged, checked, swapped, verified, and put back where that fails."""
