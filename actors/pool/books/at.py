"""Which books a run writes to, and what it may spend."""

from dataclasses import dataclass, field

from actors.store.storage import Storage


def _this_node() -> str | None:
    """The Ray node that this process is on."""
    import ray  # seconds; who only looks a replay up has no use for it

    return ray.get_runtime_context().get_node_id() if ray.is_initialized() else None


@dataclass(frozen=True)
class BooksAt:
    """The books of the storage root `storage`, as one session of one run sees them.

    Budgets are dollars, of this run and of all runs under the root; None is no limit. With
    `replay_only` what is not stored is not asked. The books are written on node `node_id`.
    """

    storage: str
    run_id: str
    session: str
    budget_usd: float | None
    study_budget_usd: float | None
    replay_only: bool = False
    node_id: str | None = field(default_factory=_this_node)

    @property
    def has_budget(self) -> bool:
        """Whether there is a limit to what calls may cost."""
        return self.budget_usd is not None or self.study_budget_usd is not None

    def __post_init__(self) -> None:
        # Workers have other working directories.
        object.__setattr__(self, "storage", Storage(self.storage).path("").rstrip("/") or "/")
