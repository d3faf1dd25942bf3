"""`doctor`: run every check and print what is amiss with the command that mends it."""

from configs.doctor import DoctorConfig
from jobs import console
from jobs.doctor import checks


def run(config: DoctorConfig) -> int:
    """Print the findings; 1 when something that the jobs need is missing."""
    findings = [
        checks.python(),
        checks.packages(),
        checks.accelerator(),
        checks.vllm_engine(),
        checks.provider_key(),
        checks.key_credit(),
        checks.tiny_model(),
        checks.storage(config.storage),
        checks.disk(),
        checks.port(),
        checks.cluster(),
    ]
    console.table(["check", "", "found"], [[f.check, f.state, f.found] for f in findings])
    for finding in findings:
        if finding.mend:
            console.say(f"{finding.check}: {finding.mend}")
    missing = [f.check for f in findings if f.state == "missing"]
    console.say(f"Missing: {', '.join(missing)}." if missing else "Nothing is missing.")
    return 1 if missing else 0
