# SPDX-License-Identifier: Apache-2.0
"""What proves that the monitoring works: rules are loaded and tested, their metrics exist, alerts find their way."""
