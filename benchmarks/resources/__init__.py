# SPDX-License-Identifier: Apache-2.0
"""What sampling resources costs."""
