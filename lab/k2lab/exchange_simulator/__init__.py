# SPDX-License-Identifier: Apache-2.0
"""Three exchanges in one process, replaying real trades on a fixed schedule, with a log of everything sent.

``dataset``    the real trades, by exchange
``schedule``   when trades are due: open loop, constant or Poisson
``truth``      the truth log: what was sent, on disk before it is sent
``protocols``  the message shapes of Binance, Kraken v1 and Coinbase Advanced Trade
``exchange``   one exchange: its WebSocket server, its subscribers, its replay
``driver``     one timer for all exchanges
``control``    the HTTP control interface; ``request`` reads its bodies, ``load_control`` has the commands of a load
``load_run``   a load run: for a bounded time another schedule (``load_schedule``) and an account of it (``lateness``)
"""
