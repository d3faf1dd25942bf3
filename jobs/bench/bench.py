"""`bench NAME`: measure every figure a few times and print what it comes to beside its reach."""

import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from configs.bench import BenchConfig
from configs.errors import UserError, did_you_mean
from jobs import console
from jobs.bench.figures import Figure, Group, Row, Skipped, selected, summary
from jobs.bench.machine import machine

# Name -> the module of its figures. It is loaded on use: a bare machine with a GPU has no Ray.
BENCHES = {
    "grpo": "jobs.bench.grpo.groups",
    "pool": "jobs.bench.pool.groups",
    "score": "jobs.bench.score.groups",
    "serve": "jobs.bench.serve.groups",
    "sft": "jobs.bench.sft.groups",
}


def run(config: BenchConfig) -> int:
    """Print the table of a bench, or the list of benches; 0 whatever the figures come to."""
    if config.name is None:
        console.table(
            ["bench", "figures"],
            [[name, _names(import_module(at).GROUPS)] for name, at in BENCHES.items()],
        )
        return 0
    if config.name not in BENCHES:
        raise UserError(f'Unknown bench "{config.name}".{did_you_mean(config.name, list(BENCHES))}')
    bench = import_module(BENCHES[config.name])
    figures = [figure.name for group in bench.GROUPS for figure in group.figures]
    for name in config.only:
        if name not in figures:
            raise UserError(f'only=["{name}"]: no such figure.{did_you_mean(name, figures)}')
    if config.out is not None and not Path(config.out).absolute().parent.is_dir():
        raise UserError(f"out={config.out}: its folder does not exist; make it first.")
    rows = []
    with bench.opened(config) as place:
        for group in selected(bench.GROUPS, config.only):
            rows += _measured(group, place, config.repeats)
    print_rows(rows, f"bench {config.name} · {machine()} · median of {config.repeats} (low..high)")
    if config.out is not None:
        text = json.dumps([row.plain() for row in rows], indent=1)
        Path(config.out).write_text(text + "\n", encoding="utf-8")
        console.say(f"  {config.out}")
    return 0


def _measured(group: Group, place: object, repeats: int) -> list[Row]:
    values: dict[str, list[float]] = {figure.name: [] for figure in group.figures}
    for number in range(1, repeats + 1):
        try:
            trial = group.measure(place)
        except Skipped as reason:
            console.say(f"{', '.join(values)}: left out, {reason}")
            return []
        for name, measured in values.items():
            measured.append(trial.values[name])
        console.say(f"{', '.join(values)} {number}/{repeats}: {trial.said}")
    return [summary(figure, values[figure.name]) for figure in group.figures]


def print_rows(rows: Sequence[Row], title: str) -> None:
    """The table of a bench."""
    holds = {True: "yes", False: "no", None: "-"}
    cells = [
        [row.figure.what, _spread(row), str(row.figure.reach or "-"), holds[row.holds]]
        for row in rows
    ]
    console.say(f"\n{title}")
    console.table(["figure", "value", "reach", "holds"], cells)


def _spread(row: Row) -> str:
    value, low, high = (_number(row.figure, v) for v in (row.value, row.low, row.high))
    return f"{value} ({low}..{high})"


def _number(figure: Figure, value: float) -> str:
    return f"{value:.{figure.digits}f}"


def _names(groups: Sequence[Group]) -> str:
    return ", ".join(figure.name for group in groups for figure in group.figures)
