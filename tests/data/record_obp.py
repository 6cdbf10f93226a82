"""Records what the Open Bandit Pipeline says of a log, for the test of `stages/src/evaluate/offpolicy/tests.rs`.

    python3 -m venv venv && venv/bin/pip install --no-deps obp==0.4.1 && venv/bin/pip install mypy-extensions numpy pandas scipy scikit-learn seaborn tqdm pyyaml
    venv/bin/python tests/data/record_obp.py > tests/data/obp.json

The log has the form of the Open Bandit sample: an item, a click and the logging policy's propensity in each row. torch, which obp imports
for the gradients of learners, takes no part in estimates and is stood in for.
"""

import json
import sys
import types

import numpy as np


class StandIn(types.ModuleType):
    """A module whose every other name is an empty class."""

    def __getattr__(self, name):
        return type(name, (), {})


for name in ("torch", "torch.nn", "torch.nn.functional", "torch.optim", "torch.utils", "torch.utils.data"):
    parent, _, child = name.rpartition(".")
    sys.modules[name] = StandIn(name)
    if parent:
        setattr(sys.modules[parent], child, sys.modules[name])

from obp.ope.estimators import DirectMethod, DoublyRobust, InverseProbabilityWeighting, SelfNormalizedInverseProbabilityWeighting

ROWS, ITEMS = 80, 6


def main():
    random = np.random.default_rng(20191124)
    logging = random.dirichlet(np.full(ITEMS, 3.0), ROWS)
    policy = random.dirichlet(np.full(ITEMS, 2.0), ROWS)
    action = np.array([random.choice(ITEMS, p=row) for row in logging])
    click = (random.random(ROWS) < 0.1 + 0.1 * action).astype(int)
    expected = np.clip(0.1 + 0.08 * np.arange(ITEMS) + random.normal(0, 0.05, (ROWS, ITEMS)), 0, 1)
    rows = np.arange(ROWS)
    given = {
        "reward": click,
        "action": action,
        "pscore": logging[rows, action],
        "action_dist": policy[:, :, None],
        "estimated_rewards_by_reg_model": expected[:, :, None],
        "position": np.zeros(ROWS, dtype=int),
    }
    estimators = {
        "ips": InverseProbabilityWeighting(),
        "snips": SelfNormalizedInverseProbabilityWeighting(),
        "doubly_robust": DoublyRobust(),
        "direct": DirectMethod(),
    }
    record = {
        "item_id": action.tolist(),
        "click": click.tolist(),
        "propensity_score": logging[rows, action].tolist(),
        "policy": policy.tolist(),
        "expected": expected.tolist(),
        "estimates": {name: float(estimator.estimate_policy_value(**given)) for name, estimator in estimators.items()},
    }
    json.dump(record, sys.stdout, separators=(",", ":"))
    print()


main()
