"""`tiny`: the embedded base model, built on first use and kept in the user's cache folder.

A Llama-architecture model of about a million parameters that answers everyday questions in whole
sentences. It exists so that every job can run for real where there is no GPU and no network.
"""

from actors.lm.tiny.cache import tiny_directory, tiny_is_built
from actors.lm.tiny.recipe import tiny_name

TINY = "tiny"

__all__ = ["TINY", "tiny_directory", "tiny_is_built", "tiny_name"]
