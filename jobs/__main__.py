"""The one door: `python -m jobs NAME key=value ...`.

Exit codes: 0 done; 1 the job could not finish (what it finished is stored); 2 bad input;
3 a budget is used up (what was answered is stored); 130 stopped by the user; 141 nobody reads what
it prints any more.
"""

import os
import select
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from dotenv import load_dotenv

from configs.base import JobConfig
from configs.errors import JobFailed, UserError, did_you_mean
from configs.loader import load_config
from jobs import console
from jobs.catalog import JOBS, Job
from jobs.help import print_fields, print_jobs, print_resolved


def main(arguments: Sequence[str]) -> int:
    """Run one job and return the exit code."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print_jobs(JOBS)
        return 0
    name, *rest = arguments
    try:
        if name.startswith("-"):
            raise UserError(f"Name the job first: python -m jobs NAME {name}.")
        if name not in JOBS:
            raise UserError(f'Unknown job "{name}".{did_you_mean(name, list(JOBS))}')
        return _run(JOBS[name], rest)
    except (UserError, JobFailed) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on from what is stored.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        if not _unread():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still buffered
        print(f"{name}: nobody reads what it prints any more.", file=sys.stderr)
        return 141


def _run(job: Job, arguments: Sequence[str]) -> int:
    schema = job.schema()
    if "--help" in arguments or "-h" in arguments:
        print_fields(job, schema)
        return 0
    fields = job.fields([a for a in arguments if a != "--dry-run"])
    config: JobConfig = load_config(schema, fields)
    if "--dry-run" in arguments:
        print_resolved(config)
        return 0
    console.say(f"hothouse {job.name}")
    return job.function()(config)


def _unread() -> bool:
    """Whether standard output is a pipe whose reader is gone."""
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in output.poll(0))


def _interrupt(signum: int, frame: FrameType | None) -> None:
    # `ray job stop` and schedulers send SIGTERM; it ends a job as ctrl-C does.
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupt)
    load_dotenv(".env")
    sys.exit(main(sys.argv[1:]))
