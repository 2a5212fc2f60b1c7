# SPDX-License-Identifier: Apache-2.0
"""What an audit of ten million records costs."""
