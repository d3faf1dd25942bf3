"""What `push` may be told."""

from configs.base import JobConfig, execution_option


class PushConfig(JobConfig):
    """Put an adapter or a merged model on the hub, with a card that says what it is."""

    path: str = execution_option(..., "checkpoint directory, or a folder that `merge` wrote")
    repo: str = execution_option(
        ..., "OWNER/NAME on the hub", pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$"
    )
    private: bool = execution_option(True, "only for you and whom you let in")
    upload: bool = execution_option(True, "false prints the card and the files, and sends nothing")
