"""The language-model core in plain torch: no Ray, no network, no job.

Runs wherever torch, transformers and peft are, a bare GPU box included.
"""
