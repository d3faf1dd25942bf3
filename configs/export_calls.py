"""The `export_calls` job."""

from configs.base import JobConfig, execution_option


class ExportCallsConfig(JobConfig):
    """Write the stored calls of a study to one file, for a replay without any network."""

    out: str = execution_option(
        ..., "file to write (JSON lines, gzipped if it ends in .gz), or an fsspec URL", min_length=1
    )
