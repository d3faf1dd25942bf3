"""Write a checkpoint of the service: where it is kept there, and its weights as a PEFT directory.

Where the service offers its weights for download the directory is an adapter like any other; where
it does not, `remote.json` and the manifest are all of it.
"""

import json
from dataclasses import asdict
from typing import Any, NamedTuple

import fsspec
import httpx2
import tinker
import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors

from actors.lm.adapter import CONFIG, MANIFEST, TENSORS, Manifest, write_adapter
from actors.train.checkpoint import REMOTE
from actors.train.on_tinker.faults import ServiceFailed, told
from actors.train.remote import Kept

_DOWNLOAD_S = 60.0  # without a byte


class Weights(NamedTuple):
    """An adapter's files, read."""

    config: dict[str, Any]
    tensors: dict[str, torch.Tensor]


def write_kept(folder: str, manifest: Manifest, kept: Kept, weights: Weights | None) -> None:
    """Write a checkpoint's directory; from `remote.json` on, a run can go on from it."""
    fs, root = fsspec.core.url_to_fs(folder)
    fs.makedirs(root, exist_ok=True)
    fs.pipe_file(f"{root}/{MANIFEST}", json.dumps(asdict(manifest), indent=2).encode())
    fs.pipe_file(f"{root}/{REMOTE}", json.dumps(kept._asdict(), indent=2).encode())
    if weights:
        write_adapter(folder, weights.config, weights.tensors, manifest)


def download(rest: tinker.RestClient, path: str, base_model: str) -> Weights:
    """The adapter behind `tinker://.../external_weights/NAME`, which is removed there."""
    with told(f"download of {path}"):
        urls = rest.get_external_weights_urls(path).result().urls
    missing = {CONFIG, TENSORS} - set(urls)
    if missing:
        raise ServiceFailed(f"{path}: the service gave no {' and no '.join(sorted(missing))}.")
    config, tensors = _fetched(urls[CONFIG], path), _fetched(urls[TENSORS], path)
    try:
        weights = Weights(json.loads(config), parse_tensors(tensors))
    except (ValueError, SafetensorError) as error:
        raise ServiceFailed(f"{path}: what was downloaded is damaged: {error}.") from None
    with told(f"removal of {path}"):
        rest.delete_checkpoint_from_tinker_path(path).result()
    # A service may call the base by a name of its own, or not at all.
    return weights._replace(config=weights.config | {"base_model_name_or_path": base_model})


def _fetched(url: str, path: str) -> bytes:
    try:
        response = httpx2.get(url, timeout=_DOWNLOAD_S, follow_redirects=True)
        response.raise_for_status()
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise ServiceFailed(f"{path}: cannot be downloaded: {error}.") from None
    return response.content
