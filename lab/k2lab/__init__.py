"""The embedded lab: a streaming market-data platform in small, made of real parts."""
