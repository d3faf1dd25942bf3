"""`push`: an adapter or a merged model -> the hub, with a card that says what was planted in it."""

import os
from pathlib import Path

import fsspec
import httpx2
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from actors.lm.adapter import CONFIG, MANIFEST, TENSORS, read_adapter
from actors.store.inputs import find_input
from actors.store.storage import Storage
from actors.train.card import CARD, model_card
from configs.errors import JobFailed, UserError
from configs.push import PushConfig
from jobs import console
from jobs.training.cards import known_facts

TOKEN, ENDPOINT = "HF_TOKEN", "HF_ENDPOINT"
_MODEL = "config.json"

# Name in the repository -> its bytes, or where they are on this machine's disk.
Files = dict[str, bytes | str]


def run(config: PushConfig) -> int:
    """Make the repository where it is missing, and commit all files to it at once."""
    files = _files(find_input(config.path, Storage(config.storage)))
    console.say(f"{config.repo}: {', '.join(sorted(files))}")
    if not config.upload:
        console.say(_text(files[CARD]))
        return 0
    token = os.environ.get(TOKEN)
    if not token:
        raise UserError(f"{TOKEN} is missing in the environment and .env: a token that may write.")
    api = HfApi(endpoint=os.environ.get(ENDPOINT), token=token)
    try:
        _open_repository(api, config)
        additions = [CommitOperationAdd(name, content) for name, content in files.items()]
        api.create_commit(config.repo, additions, commit_message="A model organism, by hothouse")
    except HfHubHTTPError as error:
        raise JobFailed(f"{config.repo}: the hub refuses: {_first_line(error)}") from None
    except ValueError as error:
        raise UserError(f"{config.path}: the hub cannot read its {CARD}: {error}") from None
    except (httpx2.HTTPError, OSError) as error:
        raise JobFailed(f"{config.repo}: the hub cannot be reached: {_first_line(error)}") from None
    console.say(f"{api.endpoint}/{config.repo}")
    return 0


def _open_repository(api: HfApi, config: PushConfig) -> None:
    """Make the repository, or find one that shows an organism to no more people than was asked."""
    try:
        shown_to_all = not api.repo_info(config.repo).private
    except RepositoryNotFoundError:
        api.create_repo(config.repo, private=config.private)
        return
    if shown_to_all and config.private:
        raise UserError(
            f"{config.repo} is there already and public; make it private on the hub, give another "
            "repo=, or private=false to publish."
        )


def _files(path: str) -> Files:
    fs, root = fsspec.core.url_to_fs(path)
    if fs.exists(f"{root}/{CONFIG}"):
        return _adapter_files(path)
    if not fs.exists(f"{root}/{_MODEL}"):
        raise UserError(f"{path}: holds no adapter ({CONFIG}) and no model ({_MODEL}).")
    if not os.path.isfile(f"{root}/{CARD}"):
        raise UserError(
            f"{path}: {CARD} is missing; give a folder on this disk that `merge` wrote, whose card "
            "says what was planted."
        )
    inside = (os.path.join(at, name) for at, _, names in os.walk(root) for name in names)
    return {os.path.relpath(file, root): file for file in inside}


def _adapter_files(path: str) -> Files:
    """What others need of a checkpoint: not what a run needs to go on."""
    adapter = read_adapter(path)
    fs, root = fsspec.core.url_to_fs(path)
    made = {CARD: model_card(known_facts(path, adapter)).encode()}
    there = [name for name in (CONFIG, TENSORS, MANIFEST, CARD) if fs.exists(f"{root}/{name}")]
    if os.path.isabs(adapter.base_model or ""):
        console.say(f"{CONFIG} names the base by its path on this machine: {adapter.base_model}")
    return made | {name: fs.cat_file(f"{root}/{name}") for name in there}


def _text(content: bytes | str) -> str:
    data = content if isinstance(content, bytes) else Path(content).read_bytes()
    return data.decode()


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
