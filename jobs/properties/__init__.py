"""The main job: write data for a property, write evaluation prompts, judge checkpoints on them."""
