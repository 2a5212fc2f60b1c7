# SPDX-License-Identifier: Apache-2.0
"""The lab's ClickHouse server: the real engine (chdb) behind ClickHouse's HTTP protocol."""
