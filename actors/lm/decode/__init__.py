"""Continuous batching: rows of many adapters come, share every forward pass, and go.

- `plan`: who gets how many tokens of a step
- `cells`, `prefixes`: where keys and values lie, without the tensors
- `memory`: the tensors
- `attention`: what the model's layers call during a step
- `probe`: what a base must be for all this, found out before the first request
- `packed`, `seats`, `stepper`: the loop's body
"""
