"""What `serve` may be told."""

from configs.base import JobConfig, execution_option, option
from configs.sections import ServerConfig


class ServeConfig(JobConfig):
    """Base and adapters behind one OpenAI-compatible endpoint, until interrupted."""

    base_model: str = option("tiny", "tiny, a hub id, or a directory")
    adapters: dict[str, str] = option({}, "name -> adapter directory (or URL) of that base")
    host: str = execution_option("127.0.0.1", "address to listen on; 0.0.0.0 is every network")
    port: int = execution_option(8000, "port to listen on", ge=1, le=65535)
    max_body_mb: int = execution_option(16, "MiB of one request's body at most", ge=1)
    max_adapter_mb: int = execution_option(1024, "MiB of one adapter's tensors at most", ge=1)
    tinker: bool = option(False, "train and sample through Tinker's SDK as well")
    server: ServerConfig = option(ServerConfig(), "the adapter server")
