# SPDX-License-Identifier: Apache-2.0
"""How long a record takes from its start to the commit of its candles, and over each stretch between.

``plan`` says what can be measured (``route``, ``columns``) and how its end will be known, ``watch`` waits, ``survey``
takes a first look, ``commits`` or ``probe`` finds when each insert block was committed, ``cells`` aggregates,
``segments`` and ``histogram`` measure the stretches, ``counts`` what is irregular, ``measure`` does it all. ``canary``
is a second way, by records of its own.
"""
