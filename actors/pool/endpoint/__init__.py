"""The embedded OpenAI-compatible endpoint: answers by rule, fails on demand, counts what it bills.

`python -m actors.pool.endpoint --port 0` serves it on loopback in a process of its own.
"""
