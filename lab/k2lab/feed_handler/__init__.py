# SPDX-License-Identifier: Apache-2.0
"""The feed handler: one exchange's trades from its WebSocket into Kafka, raw and normalised.

``adapters``    what each exchange's messages mean: pure text in, trades out
``records``     the records of the topics
``publisher``   Kafka: idempotent, in order, bounded queue with back-pressure
``feed``        the connection: subscribe, read, notice silence, reconnect with backoff
``monitor``     metrics and the answer of /health
"""
