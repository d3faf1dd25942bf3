"""The adapters of an evaluation, each under the name that its rows and tables carry."""

from collections import Counter
from collections.abc import Sequence

from actors.lm.adapter import Adapter, read_adapter
from actors.store.inputs import find_input
from actors.store.storage import Storage
from actors.train.remote import TINKER, RemoteAdapter, read_remote
from configs.errors import UserError


def read_checkpoints(paths: Sequence[str], storage: Storage) -> dict[str, Adapter | RemoteAdapter]:
    """name@version -> adapter; UserError when a path is no adapter or comes twice.

    A tinker:// path, and a checkpoint whose weights the service did not give away, stay there.
    """
    adapters = [_read(path, storage) for path in paths]
    names = checkpoint_names(paths, adapters)
    for name, count in Counter(names).items():
        if count > 1:
            raise UserError(f"checkpoint_paths: {name} comes {count} times; name each once.")
    return dict(zip(names, adapters, strict=True))


def checkpoint_names(
    paths: Sequence[str], adapters: Sequence[Adapter | RemoteAdapter]
) -> list[str]:
    """The manifest's name@version; a foreign adapter has its folder's name.

    Folders of several runs often share a name (checkpoint-100): then the parent's stands before.
    """
    folders = [_parts(path) for path in paths]
    last = Counter(parts[-1] for parts in folders)
    names = []
    for parts, adapter in zip(folders, adapters, strict=True):
        if adapter.manifest:
            names.append(f"{adapter.manifest.name}@{adapter.manifest.version}")
        else:
            shared = last[parts[-1]] > 1
            names.append("-".join(parts[-2:] if shared else parts[-1:]) + "@1")
    return names


def _read(path: str, storage: Storage) -> Adapter | RemoteAdapter:
    if path.startswith(TINKER):
        return RemoteAdapter(path)
    found = find_input(path, storage)
    return read_remote(found) or read_adapter(found)


def _parts(path: str) -> list[str]:
    """Folders, or run and checkpoint of tinker://RUN/sampler_weights/CHECKPOINT."""
    parts = path.removeprefix(TINKER).rstrip("/").split("/")
    return [parts[0], parts[-1]] if path.startswith(TINKER) else parts
