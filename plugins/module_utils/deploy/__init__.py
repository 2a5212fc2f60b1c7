# SPDX-License-Identifier: Apache-2.0
"""Files that this tool owns beside others' files: staged, checked, swapped, verified, and put back where that fails."""
