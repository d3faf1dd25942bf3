"""The adapter server: many LoRA checkpoints of one base behind one endpoint, on Ray Serve."""
