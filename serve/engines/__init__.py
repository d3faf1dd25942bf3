"""Engines: what runs the model. Each implements `actors.lm.engine.Engine` and has its line here."""

from collections.abc import Callable

from actors.lm.engine import Engine
from configs.sections import ServerConfig
from serve.engines.torch import start_torch_engine
from serve.engines.vllm.start import start_vllm_engine

# Name -> what loads a base model and starts the engine, or raises UserError.
ENGINES: dict[str, Callable[[str, ServerConfig], Engine]] = {
    "torch": start_torch_engine,
    "vllm": start_vllm_engine,
}
