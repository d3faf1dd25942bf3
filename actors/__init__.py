"""The actors of the system and their pure cores: language model, pool, training, storage."""
