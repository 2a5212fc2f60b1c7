# SPDX-License-Identifier: Apache-2.0
"""Gates, the rules that decide them, and the run directory that keeps the evidence. Runs on the controller."""
