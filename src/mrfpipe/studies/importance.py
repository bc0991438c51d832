"""Fig. 7 of Balsiger et al., Med Image Anal 64:101741 (2020), section 3.4: how much maps depend on each frame.

The values of one frame are permuted among a scan's voxels; the resulting change of the NRMSE of the proposed network's
maps is the frame's importance. The sequence is drawn above it, frame by frame.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mrfpipe.arrays import Double, Int
from mrfpipe.evaluation.importance import permutation_importance
from mrfpipe.files.atomic import write_text
from mrfpipe.phantom.cohort import Subject
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.protocol import Sequence as PulseSequence
from mrfpipe.studies.drawing import save_figure
from mrfpipe.studies.tables import markdown, publish
from mrfpipe.studies.work import Work

COLUMNS = (
    "frame",
    "flip_deg",
    "te_ms",
    "tr_ms",
    *(f"{p.name}_{what}" for p in PARAMETERS for what in ("mean", "spread")),
)
N_FIRST = 5
"""Number of frames after a change of the sequence that the table lists separately."""
_REMARK = (
    "Change of the NRMSE, against matching on the grid, when a frame's values are permuted among voxels: mean over "
    f"frames, times 1000. Frames count from 0. Left of every bar the first {N_FIRST} frames of a part of the sequence "
    "between two changes, right of it the rest. The figures of Balsiger et al. (2020) are curves without numbers; they "
    "say that for T1H2O the first few frames are the most important, for T1fat those after 125, and in general those "
    "after changes, and that frames 50 to 75 and the last 25 may be useless. Bold: the most important frames.\n"
)


def run(folder: Path, work: Work) -> str:
    """Run the study, write ``importance.csv``, ``.md`` and ``.png``, and return the table in Markdown."""
    subjects = work.split("testing")[: work.scale.n_permuted]
    found = np.stack([of_subject(work, subject) for subject in subjects])
    mean = found.mean(axis=0)
    spread = found.std(axis=0, ddof=1) if len(found) > 1 else np.full_like(mean, np.nan)
    sequence = work.scans.protocol.sequence
    lines = [
        (
            frame,
            *(f"{value:g}" for value in settings),
            *np.stack([mean[frame], spread[frame]], axis=1).reshape(-1).tolist(),
        )
        for frame, settings in enumerate(train(sequence).tolist())
    ]
    draw(mean, sequence, f"mean of {len(subjects)} test subjects", folder / "importance.png")
    return publish(folder / "importance", COLUMNS, lines, format_table(mean, changes(sequence)))


def of_subject(work: Work, subject: Subject) -> Double:
    """Measure the importance of all frames in a subject, or read it if it is stored. Shape `(frames, maps)`."""
    path = work.folder / "importance" / f"{subject.name}.json"
    if not path.exists():
        model = work.model("proposed")
        importance = permutation_importance(
            work.scans.series(subject),
            work.maps("match", subject),
            lambda series: work.infer_series(model, series),
            seed=work.seed,
            progress=work.progress(f"permute {subject.name}"),
        )
        write_text(path, json.dumps(importance.tolist(), allow_nan=False), force=False)
    return np.array(json.loads(path.read_text(encoding="utf-8")))


def train(sequence: PulseSequence) -> Double:
    """Return flip angle in degrees, TE and TR in ms of the first spoke of every frame. Shape `(frames, 3)`."""
    spokes = np.stack([np.rad2deg(sequence.flip), 1e3 * sequence.te, 1e3 * sequence.tr], axis=1)
    return spokes[:: sequence.readouts_per_frame]


def changes(sequence: PulseSequence) -> Int:
    """Return the first frame of every part of the sequence with constant flip angle, TE and TR."""
    settings = train(sequence)
    return np.flatnonzero(np.r_[True, np.any(settings[1:] != settings[:-1], axis=1)])


def format_table(importance: Double, starts: Int) -> str:
    """Format the importance as Markdown, one line per map, one column per part of the sequence."""
    ends = [*starts[1:].tolist(), len(importance)]
    parts = list(zip(starts.tolist(), ends, strict=True))
    lines = []
    for parameter, values in zip(PARAMETERS, importance.T, strict=True):
        means = [(values[a : a + N_FIRST].mean(), values[a + N_FIRST : b].mean()) for a, b in parts]
        highest = max(max(pair) for pair in means)
        cells = [" / ".join(_cell(v, is_highest=v == highest) for v in pair) for pair in means]
        lines.append([parameter.name, *cells, str(int(np.argmax(values)))])
    columns = ["map", *(f"{a} to {b - 1}" for a, b in parts), "most important frame"]
    return _REMARK + "\n" + markdown(columns, lines)


def _cell(value: float, *, is_highest: bool) -> str:
    return f"**{1e3 * value:.2f}**" if is_highest else f"{1e3 * value:.2f}"


def draw(importance: Double, sequence: PulseSequence, title: str, path: Path) -> None:
    """Draw the sequence and below it the importance of every frame, one panel per map, as a PNG."""
    figure = Figure(figsize=(10, 12), layout="constrained")
    panels: Sequence[Axes] = figure.subplots(1 + len(PARAMETERS), 1, sharex=True)
    frames = np.arange(len(importance))
    _draw_train(panels[0], train(sequence))
    for axes, parameter, values in zip(panels[1:], PARAMETERS, importance.T, strict=True):
        axes.bar(frames, 1e3 * values, 1.0, color="C0")
        axes.set_ylabel(f"{parameter.name}\nchange of NRMSE x 1000", fontsize=9)
        axes.set_ylim(bottom=0)
    for axes in panels:
        for start in changes(sequence)[1:]:
            axes.axvline(start - 0.5, color="0.5", linewidth=0.8, linestyle=":", zorder=0)
    panels[0].set_xlim(-0.5, len(importance) - 0.5)
    panels[-1].set_xlabel("frame")
    figure.suptitle(f"Permutation importance of frames, {title}; above: the sequence", fontsize=11)
    save_figure(figure, path)


def _draw_train(axes: Axes, settings: Double) -> None:
    frames = np.arange(len(settings))
    lines = axes.step(frames, settings[:, 0], where="mid", color="black", label="flip angle")
    axes.set_ylabel("flip angle (degrees)", fontsize=9)
    axes.set_ylim(0, 1.35 * settings[:, 0].max())
    times = axes.twinx()
    for column, name in ((1, "TE"), (2, "TR")):
        lines += times.step(frames, settings[:, column], where="mid", color=f"C{column}", label=name)
    times.set_ylabel("TE, TR (ms)", fontsize=9)
    times.set_ylim(0, 1.35 * settings[:, 2].max())
    axes.legend(handles=lines, ncols=3, fontsize=8, loc="upper left")
