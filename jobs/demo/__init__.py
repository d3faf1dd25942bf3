"""The whole main job on the embedded default."""
