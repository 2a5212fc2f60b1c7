# SPDX-License-Identifier: Apache-2.0
"""What lab and engine cost, beside others of their kind: ``make bench``, which calls ``run.sh``; ``BENCH`` selects."""
