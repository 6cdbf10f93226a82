"""Records what ranx says about some rankings, for the test of `stages/src/evaluate/ranking/tests.rs`.

    python3 -m venv venv && venv/bin/pip install ranx==0.3.21
    venv/bin/python tests/data/record_ranx.py > tests/data/ranx.json

Each user has items in a training part, which the rankings leave out, and relevant items in a test part: some users more than a
ranking is long. No two scores of a user are equal, so that the order of ties plays no part. Metrics are recorded for each user.
"""

import json
import sys

import numpy as np
from ranx import Qrels, Run, evaluate

USERS, ITEMS = 30, 40
NAMES = ["ndcg", "recall", "precision", "hit_rate", "mrr", "map"]


def main():
    random = np.random.default_rng(20261130)
    scores = np.stack([random.permutation(ITEMS) for _ in range(USERS)]).astype(np.float32) / 8
    train, test = [], []
    for user in range(USERS):
        items = random.permutation(ITEMS)
        known, relevant = random.integers(0, 9), random.integers(1, 14)
        train.append(sorted(items[:known].tolist()))
        test.append(sorted(items[known : known + relevant].tolist()))
    qrels = Qrels({f"{user:02}": {str(item): 1 for item in test[user]} for user in range(USERS)})
    free = [[item for item in range(ITEMS) if item not in train[user]] for user in range(USERS)]
    run = Run({f"{user:02}": {str(item): float(scores[user][item]) for item in free[user]} for user in range(USERS)})
    metrics = [f"{name}@{k}" for name in NAMES for k in (1, 5, 10)]
    found = evaluate(qrels, run, metrics, return_mean=False)
    record = {
        "items": ITEMS,
        "train": train,
        "test": test,
        "scores": scores.tolist(),
        "metrics": {name: np.asarray(values).tolist() for name, values in found.items()},
    }
    json.dump(record, sys.stdout, separators=(",", ":"))
    print()


main()
