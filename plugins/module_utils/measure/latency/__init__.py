# SPDX-License-Identifier: Apache-2.0
"""How long a record takes from its start to the commit of its candles, and over each stretch between.

``route`` says what can be measured, ``columns`` how fine it is, ``watch`` waits, ``commits`` finds the commit of each
insert block, ``cells`` aggregates, ``segments`` measures the stretches, ``measure`` does it all.
"""
