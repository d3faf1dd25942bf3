"""Measurements of the project, against peers where there are any."""
