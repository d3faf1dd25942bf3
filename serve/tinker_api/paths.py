"""The protocol's names: of training runs, samplers, requests, and checkpoints (tinker:// paths).

The SDK makes some of them itself, so their form is fixed: a session's n-th training client is
`{session}:train:{n}`, and `tinker://{run}/weights/{name}` has three parts.
"""

import re
from typing import Literal, NamedTuple, cast

from serve.openai.errors import Failure, Refused

Kind = Literal["weights", "sampler_weights", "external_weights"]
API = "/api/v1"
ROOT = "tinker"  # the folder of all runs, under the storage root
SCHEME = "tinker://"
_RUN = re.compile(r"([0-9a-f]{32}):train:([0-9]{1,9})")
_FOLDER = re.compile(r"([0-9a-f]{32})-([0-9]{1,9})")
_CHECKPOINT = re.compile(r"(weights|sampler_weights|external_weights)/(.+)", re.DOTALL)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=-]{0,127}")


class CheckpointPath(NamedTuple):
    """A training run's checkpoint of a kind, by its name."""

    run: str
    kind: Kind
    name: str

    @property
    def checkpoint_id(self) -> str:
        """What the SDK calls a checkpoint of a known run."""
        return f"{self.kind}/{self.name}"

    def __str__(self) -> str:
        return f"{SCHEME}{self.run}/{self.checkpoint_id}"


def run_id(session: str, number: int) -> str:
    """The id of a session's training client."""
    return f"{session}:train:{number}"


def sampler_id(session: str, number: int) -> str:
    """The id of a session's sampler."""
    return f"{session}:sample:{number}"


def request_id(owner: str, seq_id: int) -> str:
    """The id of a training client's or a sampler's request: the same one when it is sent again."""
    return f"{owner}:{seq_id}"


def session_of(identifier: str) -> str:
    """The session that a run, a sampler or a request belongs to."""
    return identifier.partition(":")[0]


def parse_path(path: str) -> CheckpointPath:
    """A tinker:// path; 404 where it cannot be one of ours."""
    run, _, checkpoint_id = path.removeprefix(SCHEME).partition("/")
    if not path.startswith(SCHEME):
        raise absent(f'"{path[:300]}" is no tinker:// path')
    return checkpoint_path(run, checkpoint_id)


def checkpoint_path(run: str, checkpoint_id: str) -> CheckpointPath:
    """A run's checkpoint by its id; 404 where there can be none."""
    found = _checkpoint(run, checkpoint_id)
    if found is None:
        raise absent(f'there is no checkpoint "{SCHEME}{run[:100]}/{checkpoint_id[:200]}"')
    return found


def is_name(name: str) -> bool:
    """Whether a checkpoint may be called so."""
    return _NAME.fullmatch(name) is not None


def run_folder(run: str) -> str:
    """The folder of a run under ROOT; 404 where there can be no such run."""
    match = _RUN.fullmatch(run)
    if match is None:
        raise absent(f'there is no training run "{run[:300]}"')
    return f"{match[1]}-{match[2]}"


def run_of_folder(folder: str) -> str | None:
    """The run that a folder belongs to; None where it is none of ours."""
    match = _FOLDER.fullmatch(folder)
    return match and run_id(match[1], int(match[2]))


def checkpoint_folder(path: CheckpointPath) -> str:
    """The folder of a checkpoint under the storage root; 404 where there can be none."""
    return f"{ROOT}/{run_folder(path.run)}/{path.checkpoint_id}"


def checkpoint_of_folder(folder: str) -> CheckpointPath | None:
    """The checkpoint that a folder belongs to; None where it is none of ours."""
    run, _, checkpoint_id = folder.removeprefix(f"{ROOT}/").partition("/")
    return _checkpoint(run_of_folder(run) or "", checkpoint_id)


def _checkpoint(run: str, checkpoint_id: str) -> CheckpointPath | None:
    match = _CHECKPOINT.fullmatch(checkpoint_id)
    if not _RUN.fullmatch(run) or match is None or not _NAME.fullmatch(match[2]):
        return None
    return CheckpointPath(run, cast(Kind, match[1]), match[2])


def absent(message: str) -> Refused:
    """A 404."""
    return Refused(Failure(404, f"{message}.", code="not_found"))


def invalid(message: str) -> Refused:
    """A 400."""
    return Refused(Failure(400, f"{message}."))
