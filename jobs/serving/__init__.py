"""Serving adapters to people and programs."""
