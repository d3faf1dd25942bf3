"""Pooled chat-completion calls, and the embedded endpoint that answers them offline."""
