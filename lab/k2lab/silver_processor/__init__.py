# SPDX-License-Identifier: Apache-2.0
"""Kafka to ClickHouse, exactly once across kill -9 of either end and of itself.

``intent``     what the next batch is: ranges and attempt, kept in Kafka's commit metadata (read this first)
``ledger``     which tiers hold a batch, and how to take a half-written one back out
``sink``       insert, and after any doubt: look, repair, insert again, look again
``source``     the consumer: static membership, commits with intents, pausing
``processor``  the loop
"""
