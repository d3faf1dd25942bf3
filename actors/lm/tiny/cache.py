"""Where the tiny model lives: `<user cache>/hothouse/tiny-<8 hex>`, built on first use."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from actors.lm.tiny.recipe import Recipe, tiny_name


def tiny_directory(recipe: Recipe | None = None) -> str:
    """A transformers directory with the tiny model; builds it when it is not there yet.

    Processes that start at once build it once: the others wait. The directory appears whole or
    not at all.
    """
    recipe = recipe or Recipe()
    target = cache_folder() / recipe.name
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target.with_suffix(".lock")):
            if not target.exists():
                _build_into(target, recipe)
    return str(target)


def tiny_is_built() -> bool:
    """Whether the next use of the tiny model finds it in the cache."""
    return (cache_folder() / tiny_name()).exists()


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/hothouse`, or `~/.cache/hothouse`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hothouse"


def _build_into(target: Path, recipe: Recipe) -> None:
    # Torch and transformers take seconds to import; a model that is built needs neither here.
    from actors.lm.tiny.build import build

    for stale in target.parent.glob(f".{target.name}-*"):  # of builds that were killed
        shutil.rmtree(stale, ignore_errors=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        build(recipe, unfinished)
        unfinished.chmod(0o755)
        unfinished.rename(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock; the system releases it when the process dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
