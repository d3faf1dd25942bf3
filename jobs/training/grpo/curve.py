"""A run's learning curve as a picture: rewards by step, and those of held-out problems."""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from actors.store.run import Run

Row = Mapping[str, Any]  # of metrics.jsonl

_SMOOTHED_SHARE = 0.05  # of the longest run's steps are a point of the thick line
_MEASURED = {
    "eval_greedy": ("held out, greedy", "o-"),
    "eval_reward": ("held out, sampled", "s-"),
}


def keep_curve(run: Run) -> None:
    """Draw a finished run's curve into its folder, once."""
    name = f"{run.folder}/curve.png"
    if not run.storage.exists(name):
        lines = run.storage.read(f"{run.folder}/metrics.jsonl").decode().splitlines()
        rows = [json.loads(line) for line in lines]
        last = {row["step"]: row for row in rows}  # of a step that was done again
        curve = {run.run_id: [last[step] for step in sorted(last)]}
        run.storage.write_new(name, draw_curve(curve, run.run_id))


def draw_curve(runs: Mapping[str, Sequence[Row]], title: str) -> bytes:
    """A PNG with one panel for training and one for held-out problems; `runs` by label."""
    figure = Figure(figsize=(10, 3.6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    span = max(1, round(_SMOOTHED_SHARE * max(map(len, runs.values()))))
    for number, (label, rows) in enumerate(runs.items()):
        _training(left, label if len(runs) > 1 else None, rows, f"C{number}", span)
        _held_out(right, label, rows, f"C{number}", len(runs) > 1)
    means = f", means of {span} steps" if span > 1 else ""
    left.set(xlabel="step", ylabel="reward", title=f"rollouts{means}")
    right.set(xlabel="step", title="held-out problems")
    for panel in (left, right):
        panel.grid(alpha=0.3)
        if panel.get_legend_handles_labels()[1]:
            panel.legend(fontsize=8)
    figure.suptitle(title)
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()


def smoothed(values: Sequence[float], span: int) -> list[float]:
    """Each value's mean with up to `span - 1` before it."""
    windows = (values[max(0, end - span) : end] for end in range(1, len(values) + 1))
    return [sum(window) / len(window) for window in windows]


def _training(panel: Axes, label: str | None, rows: Sequence[Row], color: str, span: int) -> None:
    steps, rewards = [row["step"] for row in rows], [row["reward"] for row in rows]
    panel.plot(steps, rewards, color=color, alpha=0.3, linewidth=0.6)
    panel.plot(steps, smoothed(rewards, span), color=color, label=label)


def _held_out(panel: Axes, label: str, rows: Sequence[Row], color: str, named: bool) -> None:
    for name, (what, form) in _MEASURED.items():
        begun = name.replace("eval", "start")
        measured = [(0, row[begun]) for row in rows if begun in row]
        measured += [(row["step"], row[name]) for row in rows if name in row]
        if measured:
            steps, values = zip(*measured, strict=True)
            shown = f"{label}: {what}" if named else what
            panel.plot(steps, values, form, color=color, markersize=3, linewidth=1, label=shown)
