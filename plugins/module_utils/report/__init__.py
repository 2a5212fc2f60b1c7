# SPDX-License-Identifier: Apache-2.0
"""Layer 5: renders a run from its evidence files alone. Runs on the controller."""
