"""A state kept between two save points, because its machine is about to be taken away.

It is a checkpoint in a place of its own, at `<run folder>/standby`: nobody is shown it and the next
checkpoint makes it needless, so a run that was moved leaves what an undisturbed run leaves.
"""

import fsspec

from actors.train.checkpoint import checkpoint_path, latest_checkpoint, step_of


def standby_path(run_folder: str, step: int) -> str:
    """Where the state after `step` steps stands."""
    return checkpoint_path(_place(run_folder), step)


def latest_state(run_folder: str) -> str | None:
    """The whole checkpoint or standby with the most steps, None when there is none."""
    found = (latest_checkpoint(run_folder), latest_checkpoint(_place(run_folder)))
    return max((path for path in found if path), key=step_of, default=None)


def drop_standby(run_folder: str) -> None:
    """A checkpoint that came later is whole."""
    fs, root = fsspec.core.url_to_fs(_place(run_folder))
    if fs.exists(root):
        fs.rm(root, recursive=True)


def _place(run_folder: str) -> str:
    return f"{run_folder}/standby"
