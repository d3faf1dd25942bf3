"""What a run may be told: one frozen schema per job, and the loader that fills it.

Everything above imports from here; this package imports nothing of the project.
"""
