# SPDX-License-Identifier: Apache-2.0
"""Open-loop load: send times fixed in advance, the lateness of every send recorded, what was not sent counted."""
