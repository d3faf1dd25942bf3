"""The bench of the pool: its client side against the OpenAI client's default, limits, memory.

Ours and the peer run in turn, each in a process of its own that is given the same load as JSON,
against the embedded endpoint in a third process. A client warms up, says that it is ready, and
measures itself from the parent's word on.
"""
