# SPDX-License-Identifier: Apache-2.0
"""What starts and watches the platform's processes, behind one interface: one file per runtime."""
