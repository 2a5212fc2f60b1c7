# SPDX-License-Identifier: Apache-2.0
"""What each exchange says on the wire: pure text in, text out, no sockets."""
