"""Tinker's wire protocol: its unchanged SDK (0.38) trains and samples on this cluster.

`routes` has the endpoints, whose bodies are the SDK's own types, `wire` the protobuf. A request
becomes a future (`futures`) and, for a training client, takes its turn by its number
(`sequencing`). `trainer` is one actor with the base and every client's adapter, `training` the
door's side of it. `sampling` publishes adapters to the server and asks it, `store` keeps
checkpoints under the storage root by their tinker:// `paths`, and `sessions` knows who is there.
"""
