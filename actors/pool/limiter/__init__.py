"""One limiter for the whole cluster: how many calls may be in flight, and how fast they may start.

A named actor per (base URL, account, model) learns from 429s what the endpoint takes and leases
shares of it to the workers' gates, so that a call costs no message of its own.
"""
