"""Card: what users must know about a network, as a text file beside it."""

from collections.abc import Sequence

from mrfpipe.learning.model import TrainedModel
from mrfpipe.protocol import Protocol
from mrfpipe.run.held_out import Score


def card(model: TrainedModel, protocol: Protocol, scores: Sequence[Score], n_phantoms: int) -> str:
    """Return the card of a network that was trained on phantoms and scored on `n_phantoms` others."""
    record, preset = model.record, model.record["preset"]
    rows = "\n".join(
        f"| {s.parameter.heading} | {s.rmse['network']:.4g} | {s.rmse['joint']:.4g} | {s.rmse['frames']:.4g} | "
        f"{s.ratio:.2f} | {s.spread:.2f} |"
        for s in scores
    )
    worse = " and ".join(s.parameter.name for s in scores if s.ratio >= 1)
    verdict = (
        f"**Its error is not smaller than that of the matching that it corrects in {worse}:** map these with\n"
        "`mrfpipe match`, or train on more phantoms."
        if worse
        else "Its errors are smaller than those of the matching that it corrects in all maps."
    )
    field, patch = ("{0} x {0} voxels".format(preset[key]) for key in ("receptive_field", "patch_size"))
    steps = f"{record['steps']:,} steps of {preset['batch_size']} patches of {patch}, on {record['device']}"
    return f"""# A network for protocol {protocol.name}

It corrects the maps of `mrfpipe match`, from the coefficients, these maps and their deviations in a
neighbourhood of {field}, and estimates the standard deviation of every map.
`mrfpipe reconstruct SCAN --model THIS_FOLDER` applies it.

| | |
|---|---|
| protocol | {protocol.name}, hash {protocol.hash[:12]}; signal model {model.signal_model} |
| network | {model.architecture.n_parameters:,} parameters, preset {preset["name"]} |
| training data | simulated scans of {record["scans"]} drawn phantoms; seed {record["seed"]} |
| training | {steps} |

## How good it is

RMSE on {n_phantoms} other phantoms, scanned by the simulated scanner, with 3 to 8 coils and a signal-to-noise ratio of
500 to 10,000. The last column is the spread of the errors over the standard deviations that the network gives: 1 is
right.

| map | network | joint, matching | frames, matching | network over joint | spread |
|---|---|---|---|---|---|
{rows}

{verdict}

## Where it must not be used

- For diagnosis or treatment. Its training data are phantoms, not patients.
- With another sequence: scans with another train, matrix or number of readouts are refused.
- On scans whose history, inversion or trajectory differs from the protocol: it corrects the effects of noise, blurring
  and aliasing, not a wrong signal model.
"""
