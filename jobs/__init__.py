"""The jobs: one door, `python -m jobs NAME key=value`, and a folder per study."""
