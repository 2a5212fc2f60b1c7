# SPDX-License-Identifier: Apache-2.0
"""The command line `k2h`, on the controller. One file per command; each registers itself with ``main``."""
