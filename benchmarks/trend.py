"""How a quantity grows: with the size of the work, or with time."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import combinations

Points = Sequence[tuple[float, float]]
"""Pairs ``(x, y)``, by rising x."""


def exponent(points: Points) -> float:
    """``k`` of ``y = c · x^k``: the least-squares line through the larger half of the points, both axes logarithmic.

    1 is linear, 0 does not depend on x. The smaller half is left out: there, what each piece of work costs once hides
    how it grows. All must be above 0, two at least.
    """
    half = [(math.log(x), math.log(y)) for x, y in points[-max(2, (len(points) + 1) // 2) :]]
    return statistics.linear_regression([x for x, _ in half], [y for _, y in half]).slope


def robust_slope(points: Points) -> float:
    """Growth of y for each 1 of x: the median of the slopes between all pairs of points (Theil and Sen).

    Up to three in ten points may be anything and hardly change it. 0 with fewer than two.
    """
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2) if x2 != x1]
    return statistics.median(slopes) if slopes else 0.0
