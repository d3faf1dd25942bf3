"""One chat-completion call: its body, the wire, what came back, and whether to ask again."""
