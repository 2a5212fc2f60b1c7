# SPDX-License-Identifier: Apache-2.0
"""Kill every service of a running lab at random phases under load, then count: nothing lost, nothing doubled.

``target``   the lab as this test sees it: pids, load, freshness, lag
``rounds``   kill, wait for recovery, again
``verdict``  what may be missing after which kill
"""
