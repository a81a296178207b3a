"""Turns measured times into the two percentiles that are reported."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benchmarks.values import Sample, Series


def percentiles(subject: str, figure: str, seconds: Sequence[float]) -> list[Sample | Series]:
    """Return p50 and p99 in milliseconds."""
    cuts = statistics.quantiles(seconds, n=100)
    return [
        Sample(subject, f"{figure}, p50", "ms", cuts[49] * 1e3),
        Sample(subject, f"{figure}, p99", "ms", cuts[98] * 1e3),
    ]


def distribution(subject: str, figure: str, seconds: Sequence[float]) -> Series:
    """Return the share of calls (percent) that took so many milliseconds at most."""
    cuts = statistics.quantiles(seconds, n=200)
    return Series(subject, figure, "ms", "% of calls", tuple((cut * 1e3, (n + 1) / 2) for n, cut in enumerate(cuts)))
