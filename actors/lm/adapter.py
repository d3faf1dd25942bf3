"""An adapter: a PEFT directory, its manifest and its digest.

The directory holds `adapter_config.json` and `adapter_model.safetensors` exactly as peft writes
them, so that peft, transformers and vLLM load it as it is, plus our `manifest.json`. Directories
are read and written through fsspec: the storage root may be an object store.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, NamedTuple

import fsspec
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as dump_tensors

from actors.lm.adapter_config import DETERMINING, config_fault
from configs.base import digest as data_digest
from configs.errors import UserError

CONFIG, TENSORS, MANIFEST = "adapter_config.json", "adapter_model.safetensors", "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """Where an adapter comes from. `name@version` is its identity, `digest` its content."""

    name: str
    version: int
    step: int
    run: str
    base_model: str
    digest: str


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter in memory: peft's config and peft's tensors (float32, keys as peft writes).

    Tensors are named `base_model.model.<module>.lora_A.weight` [r, in] and `.lora_B.weight`
    [out, r].
    """

    config: dict[str, Any]
    tensors: dict[str, torch.Tensor]
    manifest: Manifest | None = None

    @property
    def base_model(self) -> str:
        """The base model that the adapter was trained on."""
        return self.config["base_model_name_or_path"]

    @cached_property
    def digest(self) -> str:
        """Hex SHA-256 over the determining config and every tensor's name, type, shape, bytes."""
        return adapter_digest(self.config, self.tensors)

    def __reduce__(self) -> tuple[Any, ...]:
        """Without the digest: who receives an adapter computes it from what arrived.

        The tensors travel as arrays of bytes, which pickle hands on as they lie: as tensors they
        would cost more than all the rest of a hand-over.
        """
        packed = {name: _packed(tensor) for name, tensor in self.tensors.items()}
        return _unpacked, (self.config, packed, self.manifest)


class _Packed(NamedTuple):
    raw: NDArray[np.uint8]
    dtype: torch.dtype
    shape: tuple[int, ...]


def _packed(tensor: torch.Tensor) -> _Packed:
    flat = tensor.detach().cpu().contiguous().flatten()
    return _Packed(flat.view(torch.uint8).numpy(), tensor.dtype, tuple(tensor.shape))


def _unpacked(
    config: dict[str, Any], packed: dict[str, _Packed], manifest: Manifest | None
) -> Adapter:
    tensors = {name: torch.empty(one.shape, dtype=one.dtype) for name, one in packed.items()}
    for name, tensor in tensors.items():
        # Copied: what arrives may lie in memory that others read as well.
        tensor.flatten().view(torch.uint8).numpy()[:] = packed[name].raw
    return Adapter(config, tensors, manifest)


def adapter_digest(config: dict[str, Any], tensors: dict[str, torch.Tensor]) -> str:
    """Content digest of an adapter; peft's version and similar remarks do not enter it."""
    determining = {k: config.get(k) for k in DETERMINING}
    if isinstance(determining["target_modules"], list):
        determining["target_modules"] = sorted(determining["target_modules"])
    sha = hashlib.sha256(data_digest(determining).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        sha.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        sha.update(tensor.flatten().view(torch.uint8).numpy().data)
    return sha.hexdigest()


def read_adapter(path: str) -> Adapter:
    """Read a PEFT directory (a folder or an fsspec URL); UserError when it is not one."""
    fs, root = fsspec.core.url_to_fs(path)
    if not fs.exists(f"{root}/{CONFIG}"):
        raise UserError(f"{path}: not an adapter directory, {CONFIG} is missing.")
    if not fs.exists(f"{root}/{TENSORS}"):
        raise UserError(f"{path}: {TENSORS} is missing; only safetensors adapters are read.")
    try:
        config = json.loads(fs.cat_file(f"{root}/{CONFIG}"))
        if fault := config_fault(config):
            raise UserError(f"{path}: {CONFIG}: {fault}.")
        tensors = parse_tensors(fs.cat_file(f"{root}/{TENSORS}"))
        manifest = None
        if fs.exists(f"{root}/{MANIFEST}"):
            manifest = Manifest(**json.loads(fs.cat_file(f"{root}/{MANIFEST}")))
        adapter = Adapter(config, tensors, manifest)
        digest = adapter.digest
    except RecursionError:
        raise UserError(f"{path}: damaged adapter directory: JSON nested too deeply.") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}.") from None
    except (ValueError, SafetensorError, TypeError) as error:
        raise UserError(f"{path}: damaged adapter directory: {str(error)[:200]}.") from None
    if manifest and manifest.digest != digest:
        raise UserError(
            f"{path}: its tensors do not match its manifest's digest; the files were changed "
            f"after training. Remove {MANIFEST} to use it as a foreign adapter."
        )
    return adapter


def write_adapter(
    path: str, config: dict[str, Any], tensors: dict[str, torch.Tensor], manifest: Manifest
) -> None:
    """Write a PEFT directory with its manifest (a folder or an fsspec URL)."""
    fs, root = fsspec.core.url_to_fs(path)
    fs.makedirs(root, exist_ok=True)
    metadata = {"format": "pt"}
    fs.pipe_file(f"{root}/{TENSORS}", dump_tensors(tensors, metadata=metadata))
    fs.pipe_file(f"{root}/{MANIFEST}", json.dumps(asdict(manifest), indent=2).encode())
    # The config comes last: a directory with a config is whole.
    fs.pipe_file(f"{root}/{CONFIG}", json.dumps(config, indent=2, sort_keys=True).encode())
