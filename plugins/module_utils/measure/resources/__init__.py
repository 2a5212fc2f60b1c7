# SPDX-License-Identifier: Apache-2.0
"""What services use over a long time: a sampler of its own process on the target, and what it leaves behind."""
