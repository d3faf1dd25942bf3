"""The bench of the adapter server: its engine against peers, and what Serve and HTTP cost on top.

Each side is a process of its own that loads the same base and adapters once and is then given work
as lines of JSON, in turn with the others. All are held to one thread.
"""
