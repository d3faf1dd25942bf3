"""Who answers for the models of an evaluation: our own server, the Tinker service, or both.

An adapter that only the service holds is sampled there. So is base where nothing else has to be
served here: the service has models that do not fit this cluster.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Protocol

from actors.lm.adapter import Adapter
from actors.lm.base import load_tokenizer, resolve_base_name
from actors.lm.messages import Message
from actors.lm.requests import BASE, Sample
from actors.train.remote import RemoteAdapter
from configs.eval import EvalConfig
from configs.sections import SamplingConfig
from serve.launch import adapter_server


class Sampler(Protocol):
    """Holds the model's side of conversations."""

    async def chat(
        self,
        adapter: str,
        messages: Sequence[Message],
        sampling: SamplingConfig,
        seed: int | None = None,
    ) -> Sample:
        """The assistant's next turn."""
        ...

    def adapters(self) -> dict[str, str]:
        """Name -> digest, `base` included."""
        ...


class _Together:
    """Several samplers, each of which knows names of its own."""

    def __init__(self, samplers: Sequence[Sampler]) -> None:
        self._by_name = {name: sampler for sampler in samplers for name in sampler.adapters()}

    async def chat(
        self,
        adapter: str,
        messages: Sequence[Message],
        sampling: SamplingConfig,
        seed: int | None = None,
    ) -> Sample:
        return await self._by_name[adapter].chat(adapter, messages, sampling, seed)

    def adapters(self) -> dict[str, str]:
        return {name: sampler.adapters()[name] for name, sampler in self._by_name.items()}


@contextmanager
def open_samplers(
    config: EvalConfig, checkpoints: Mapping[str, Adapter | RemoteAdapter]
) -> Iterator[Sampler]:
    """A sampler for base and all checkpoints, for the length of a block. Ray is initialised."""
    here = {name: one for name, one in checkpoints.items() if isinstance(one, Adapter)}
    there = _paths(checkpoints)
    with ExitStack() as opened:
        samplers: list[Sampler] = []
        if here or not there:
            server = adapter_server(config.base_model, here, config.server)
            samplers.append(opened.enter_context(server))
        else:
            there = {BASE: resolve_base_name(config.base_model), **there}
        if there:
            samplers.append(opened.enter_context(_on_tinker(config.base_model, there)))
        yield _Together(samplers)


def adapter_digests(checkpoints: Mapping[str, Adapter | RemoteAdapter]) -> dict[str, str]:
    """Name -> digest, for which the service is asked about what it holds."""
    there = _paths(checkpoints)
    found = {name: one.digest for name, one in checkpoints.items() if isinstance(one, Adapter)}
    if there:
        from actors.train.on_tinker.service import open_service  # needs the SDK, which is an extra

        with open_service() as service:
            found |= {name: service.digest(path) for name, path in there.items()}
    return {name: found[name] for name in checkpoints}


def _paths(checkpoints: Mapping[str, Adapter | RemoteAdapter]) -> dict[str, str]:
    """Where those are that the service holds."""
    return {name: one.path for name, one in checkpoints.items() if isinstance(one, RemoteAdapter)}


@contextmanager
def _on_tinker(base_model: str, paths: Mapping[str, str]) -> Iterator[Sampler]:
    from actors.train.on_tinker.service import open_service
    from serve.tinker_client import open_tinker_client

    name = resolve_base_name(base_model)
    with open_service() as service:
        service.check_model(name)
        yield open_tinker_client(service, name, paths, load_tokenizer(base_model))
