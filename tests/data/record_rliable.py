"""Records what rliable says about some scores, for the test of `stages/src/evaluate/bootstrap.rs`.

    python3 -m venv venv && venv/bin/pip install rliable==1.2.0 "pandas<3"
    venv/bin/python tests/data/record_rliable.py > tests/data/rliable.json

Scores are [runs][tasks], rounded so that ties occur. Each interval is recorded with the very run indices that rliable
drew for each task in each resample, so that the comparison is exact and not up to chance.
"""

import json
import sys

import numpy as np
from rliable import library, metrics


def intervals(scores, function, resamples):
    """Point estimate, 95 % percentile interval, and the indices behind it: [resample][argument][runs][tasks]."""
    drawn = []
    choice = np.random.choice

    def remembered(items, shape, replace):
        indices = choice(items, shape, replace=replace)
        drawn.append(indices.tolist())
        return indices

    np.random.choice = remembered
    points, ends = library.get_interval_estimates({"x": scores}, function, reps=resamples)
    np.random.choice = choice
    width = len(scores) if isinstance(scores, tuple) else 1
    assert len(drawn) == resamples * width, (len(drawn), resamples, width)
    draws = [drawn[k : k + width] for k in range(0, len(drawn), width)]
    return {
        "value": float(np.asarray(points["x"]).reshape(-1)[0]),
        "interval": np.asarray(ends["x"]).reshape(-1).tolist(),
        "draws": draws,
    }


def main():
    np.random.seed(20240825)
    tasks = 9
    level = np.random.normal(60, 20, tasks)
    x = np.round(level + np.random.normal(4, 6, (5, tasks)))
    y = np.round(level + np.random.normal(0, 6, (3, tasks)))
    thresholds = np.linspace(20, 100, 9)
    profile, _ = library.create_performance_profile({"x": x}, thresholds, reps=10)
    record = {
        "x": x.tolist(),
        "y": y.tolist(),
        "thresholds": thresholds.tolist(),
        "profile": profile["x"].tolist(),
        "mean": intervals(x, lambda s: np.array([metrics.aggregate_mean(s)]), 60),
        "iqm": intervals(x, lambda s: np.array([metrics.aggregate_iqm(s)]), 60),
        "probability_of_improvement": intervals(
            (x, y), lambda a, b: np.array([metrics.probability_of_improvement(a, b)]), 60
        ),
    }
    json.dump(record, sys.stdout, separators=(",", ":"))
    print()


main()
