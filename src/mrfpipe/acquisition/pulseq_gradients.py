"""The gradients of a Pulseq sequence, and their zeroth moment at any time."""

from typing import Any

import numpy as np

from mrfpipe.arrays import Double

AXES = ("gx", "gy", "gz")


class Moments:
    """Integral of the gradients from the start of the sequence: exact for piecewise linear gradients."""

    def __init__(self) -> None:
        self._parts: dict[str, list[tuple[Double, Double]]] = {axis: [] for axis in AXES}
        self._made: dict[str, tuple[Double, Double, Double]] = {}

    def add(self, block: Any, start: float) -> float:  # noqa: ANN401 - pypulseq is untyped
        """Add the gradients of a block that starts at a time in s; return when the last of them ends."""
        end = start
        for axis in AXES:
            gradient = getattr(block, axis)
            if gradient is not None:
                times, values = _corners(gradient)
                if not np.isfinite(values).all() or np.any(np.diff(times) < 0):
                    raise ValueError(f"the gradient {axis} of the block at {start * 1e3:.3f} ms is none")
                # The gradient is 0 before and after its waveform, whatever the end values are.
                ends = times[[0]], times[[-1]]
                self._parts[axis].append(
                    (start + np.concatenate([ends[0], times, ends[1]]), np.concatenate([[0.0], values, [0.0]]))
                )
                end = max(end, start + float(times[-1]))
        self._made.clear()
        return end

    def at(self, times: Double) -> Double:
        """Return the moments along x, y and z in 1/m at times in s. Shape `(times, 3)`."""
        return np.stack([self._along(axis, times)[0] for axis in AXES], axis=-1)

    def gradient_at(self, time: float) -> Double:
        """Return the gradients along x, y and z in Hz/m at a time in s. Shape `(3)`."""
        return np.array([self._along(axis, np.array([time]))[1][0] for axis in AXES])

    def _along(self, axis: str, times: Double) -> tuple[Double, Double]:
        if axis not in self._made:
            parts = self._parts[axis]
            # One point before all others and one after them, so that every time lies between two points.
            corner = np.concatenate([[-1.0], *(part[0] for part in parts), [np.inf]])
            value = np.concatenate([[0.0], *(part[1] for part in parts), [0.0]])
            moment = np.cumsum(np.diff(corner[:-1]) * (value[1:-1] + value[:-2]) / 2)
            self._made[axis] = corner, value, np.concatenate([[0.0], moment])
        corner, value, moment = self._made[axis]
        i = np.searchsorted(corner, times, side="right") - 1
        after, width = times - corner[i], corner[i + 1] - corner[i]
        slope = np.divide(value[i + 1] - value[i], width, out=np.zeros(times.shape), where=np.isfinite(width))
        return moment[i] + after * (value[i] + slope * after / 2), value[i] + slope * after


def _corners(gradient: Any) -> tuple[Double, Double]:  # noqa: ANN401 - pypulseq is untyped
    """Return the corners of a piecewise linear gradient: times from the start of the block in s, values in Hz/m."""
    if gradient.type == "trap":
        steps = (gradient.delay, gradient.rise_time, gradient.flat_time, gradient.fall_time)
        if min(steps) < 0:
            raise ValueError("a trapezoid has a negative duration")
        return np.cumsum(steps), gradient.amplitude * np.array([0.0, 1.0, 1.0, 0.0])
    times, values = np.asarray(gradient.tt, float), np.asarray(gradient.waveform, float)
    if gradient.time_id <= 0:  # sampled at raster centres, or at centres and edges
        times = np.concatenate([[0.0], times, [gradient.shape_dur]])
        values = np.concatenate([[gradient.first], values, [gradient.last]])
    return gradient.delay + times, values
