"""The adapter server: one base model and many adapters behind one endpoint.

`launch` starts it inside a Ray that runs already. A replica (`replica`) holds an engine
(`engines/`) and everything that needs the tokenizer; `app` speaks OpenAI's protocol over HTTP,
`client` the same calls through a Ray Serve handle. Names become versions in `registry`.
"""
