# SPDX-License-Identifier: Apache-2.0
"""Layer 2: clients of what is under test. They observe and act; they never judge."""
