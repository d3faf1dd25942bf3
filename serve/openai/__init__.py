"""OpenAI's API: what its clients send and what they read.

`bodies` and `adapter_bodies` are the requests (their fields in `fields`), `replies`, `logprobs` and
`stream` what is answered, `shapes` its types, `errors` every error in OpenAI's shape. `keys`,
`limits` and `metrics` are the layers that each request passes first.
"""
