"""The adapter server: one base model and many adapters behind one endpoint.

`launch` starts it inside a Ray that runs already. A replica (`replica`) holds an engine
(`engines/`) and everything that needs the tokenizer; `client` asks replicas through a Ray Serve
handle, and `door` serves `app`, OpenAI's API (`openai/`) over that client. Names become versions in
`registry`.
"""
