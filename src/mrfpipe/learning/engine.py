"""Engine: runs the remaining epochs of a training."""

import copy
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mrfpipe.errors import InputError
from mrfpipe.learning.checkpoint import TrainingState, save_checkpoint
from mrfpipe.learning.distributed import Team
from mrfpipe.learning.journal import Journal
from mrfpipe.learning.loss import counting, squared_error
from mrfpipe.learning.network import MapNetwork, settle
from mrfpipe.learning.patches import TrainingData
from mrfpipe.learning.precision import exact_float32
from mrfpipe.learning.presets import Preset
from mrfpipe.learning.validation import Validation, validate
from mrfpipe.progress import Epochs


@dataclass(slots=True, kw_only=True, eq=False)
class Run:
    """One training: its data, settings and state."""

    state: TrainingState
    data: TrainingData
    held_out: TrainingData | None
    preset: Preset
    seed: int
    team: Team
    autocast: torch.autocast
    best: float = -math.inf
    durations: list[float] = field(default_factory=list)


def learning_rate(preset: Preset, progress: float) -> float:
    """Return Adam's learning rate when a fraction `progress`, 0 to 1, of the training is done."""
    fall = preset.learning_rate - preset.final_learning_rate
    return preset.final_learning_rate + fall * (1 + math.cos(math.pi * progress)) / 2


def run_epochs(
    run: Run,
    settings: Mapping[str, Any],
    progress: Epochs | None,
    checkpoint: Path | None,
    records: tuple[Path | None, Path | None],
) -> None:
    """Train until all epochs are done; with validation data, load the best weights into the network at the end."""
    state, leads = run.state, run.team.rank == 0
    log, board = records if leads else (None, None)
    with exact_float32(), Journal(log, board, n_done=state.epoch) as journal:
        if state.best and run.held_out is not None:
            best = copy.deepcopy(state.network)
            best.load_state_dict(state.best)
            run.best = _fit(run, best, run.held_out).score
        while state.epoch < run.preset.n_epochs:
            started = time.monotonic()
            _run_epoch(run)
            found = None if run.held_out is None else _keep_best(run, run.held_out)
            run.durations.append(time.monotonic() - started)
            # The log comes first: a surplus line is dropped when the training is resumed.
            journal.write(_entry(run, found))
            if checkpoint is not None and leads:
                save_checkpoint(checkpoint, state, settings)
            if progress is not None and leads:
                progress(state.epoch, run.preset.n_epochs, state.losses[-1])
    if state.best:
        state.network.load_state_dict(state.best)
    run.team.wait()


def _run_epoch(run: Run) -> None:
    """Train on all data once and record the mean loss over all voxels and maps that count."""
    state, preset, team = run.state, run.preset, run.team
    positions = run.data.positions(np.random.default_rng([run.seed, state.epoch]))
    n_steps = math.ceil(len(positions) / preset.batch_size)
    if len(positions) // n_steps < team.size:
        raise InputError(
            f"{len(positions) // n_steps} patches of a batch cannot be shared out among {team.size} processes; start "
            "fewer, or train on more scans."
        )
    device = state.network.output.weight.device
    state.network.train()
    if state.epoch >= run.preset.n_epochs * (1 - preset.settled):
        settle(state.network)
    sums = torch.zeros(2, device=device)
    share = slice(team.rank, None, team.size)
    for step, cut in enumerate(run.data.batches(positions, preset.batch_size, share)):
        batch = cut.to(device)
        for group in state.optimiser.param_groups:
            group["lr"] = learning_rate(preset, (state.epoch + step / n_steps) / run.preset.n_epochs)
        state.optimiser.zero_grad()
        counts = counting(
            batch,
            run.data.map_scaling,
            only_where_counts=preset.only_where_counts,
            weighted=preset.weighted,
        )
        n = team.add(counts.sum())
        with run.autocast:
            estimate = state.network(batch.frames)
        error = squared_error(estimate, batch, counts)
        # Each process differentiates its share of the mean over the whole batch; the sum of all gradients is that of
        # the mean.
        (error / n.clamp(min=1)).backward()  # type: ignore[no-untyped-call]
        team.add_gradients(state.network)
        state.optimiser.step()
        sums += torch.stack([error.detach(), counts.sum()])
    total, count = team.add(sums).tolist()
    if not math.isfinite(total):
        raise InputError(
            f"Training diverged in epoch {state.epoch + 1} of {run.preset.n_epochs}: the loss is not finite. Lower the "
            f"learning rate of preset {preset.name} ({preset.learning_rate:g}), or check the frames and maps of the "
            "scans."
        )
    state.losses.append(total / count)


def _fit(run: Run, network: MapNetwork, held_out: TrainingData) -> Validation:
    return validate(
        network,
        held_out,
        batch_size=run.preset.batch_size,
        only_where_counts=run.preset.only_where_counts,
        weighted=run.preset.weighted,
        team=run.team,
        autocast=run.autocast,
    )


def _keep_best(run: Run, held_out: TrainingData) -> Validation:
    """Validate the network and keep its weights if no earlier epoch explained more variance."""
    found = _fit(run, run.state.network, held_out)
    run.state.validation_losses.append(found.loss)
    if found.score >= run.best:
        run.best = found.score
        run.state.best = {name: tensor.clone() for name, tensor in run.state.network.state_dict().items()}
    return found


def _entry(run: Run, found: Validation | None) -> dict[str, Any]:
    done, mean = run.state.epoch, sum(run.durations) / len(run.durations)
    entry: dict[str, Any] = {
        "epoch": done,
        "n_epochs": run.preset.n_epochs,
        "loss": run.state.losses[-1],
        "learning_rate": learning_rate(run.preset, done / run.preset.n_epochs),
    }
    if found is not None:
        explained = {"mean": found.score, **found.explained}
        entry["validation"] = {"loss": found.loss, "explained_variance": explained, "best": run.best}
    return entry | {"seconds": run.durations[-1], "seconds_left": mean * (run.preset.n_epochs - done)}
