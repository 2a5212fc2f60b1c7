# SPDX-License-Identifier: Apache-2.0
"""Layer 3: how to break a platform and put it back."""
