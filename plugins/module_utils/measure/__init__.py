# SPDX-License-Identifier: Apache-2.0
"""Layer 3: how to observe a platform. Changes nothing in it."""
