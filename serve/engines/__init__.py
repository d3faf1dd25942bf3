"""Engines: what runs the model. Each implements `actors.lm.engine.Engine`."""
