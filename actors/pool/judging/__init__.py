"""Scores from 0 to 100 by a judge that answers with a number, on top of the pool."""
