# SPDX-License-Identifier: Apache-2.0
"""Set-up: everything a clone needs before the lab can run or the tests can start.

Runs with the machine's own Python before any virtual environment exists, so it uses the standard library only.
"""
