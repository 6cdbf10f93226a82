"""A policy of `apprentice` in NumPy: reads the file and scores the catalogue. Needs `pip install numpy safetensors`.

    policy = Policy("artifacts/quickstart/policy@seed=0/policy.safetensors")
    scores = policy.logits(user=3, history=[50, 172], rewards=[4.2, 3.9], progress=2 / 30)
    best = scores.argmax()

`python load_policy.py FILE < states.json` prints the logits of a list of such states.
"""

import json
import sys

import numpy as np
from safetensors import safe_open


class Policy:
    def __init__(self, path):
        with safe_open(path, "numpy") as file:
            self.p = {name: file.get_tensor(name) for name in file.keys()}
            header = json.loads(file.metadata()["apprentice"])
        assert header["kind"] == "policy", header
        self.shape = json.loads(header["about"])
        self.users, items = self.p["table.user_vectors"], self.p["table.item_vectors"].astype(np.float64)
        # How alike two items are: close in what the users answer to them.
        metric = self.users.T.astype(np.float64) @ self.users / len(self.users)
        gram = items @ metric @ items.T
        square = np.maximum(np.diag(gram)[:, None] + np.diag(gram)[None, :] - 2 * gram, 0)
        pairs = np.sort(square[np.tril_indices(len(items), -1)])
        rank = min(int(len(pairs) * self.shape["alike_share"]), len(pairs) - 1)
        self.likeness = np.exp(-((square / max(pairs[rank], 1e-12)) ** 4))

    def logits(self, user, history, rewards, progress):
        """Scores of all items for `user` after `history` (oldest first), which paid `rewards`; higher is better."""
        p, window, items = self.p, self.shape["window"], self.shape["items"]
        recent = (list(history)[::-1] + [items] * window)[:window]  # newest first; `items` where there is none
        paid = np.array((list(rewards)[::-1] + [0.0] * window)[:window], np.float32)
        there = np.array([item < items for item in recent])
        v = self.users[user]
        x = np.concatenate([v, self.encode(v, p["item_in"][recent], paid, there), [progress]])
        query = self.mlp("actor", x) + p["prior"] * v
        shown, alike = np.zeros(items), np.zeros(items)
        for item in (item for item in recent if item < items):
            shown[item] += 1
            alike += self.likeness[item]
        return query @ p["item_out"].T + p["bias"] + 100 * (p["shown"] * shown + p["alike"] * alike)

    def encode(self, user, items, paid, there):
        """The last items as one vector; what kind of encoder it is stands in the file."""
        encoder = self.shape.get("encoder", "window")
        if encoder == "window":
            return items.reshape(-1)
        if "average" in encoder:
            there = there[: encoder["average"]["last"]]
            return (items[: len(there)] * there[:, None]).sum(0) / max(there.sum(), 1)
        if "gru" in encoder:
            return self.gru(np.concatenate([items, paid[:, None]], 1), there)
        return self.transformer(encoder["transformer"], user, items, paid, there)

    def gru(self, x, there):
        p, h = self.p, np.zeros(len(self.p["encoder.hidden"]))
        for now in np.flatnonzero(there)[::-1]:  # oldest first
            reset, keep, new = np.split(x[now] @ p["encoder.input"] + p["encoder.input_bias"], 3)
            reset_h, keep_h, new_h = np.split(h @ p["encoder.hidden"], 3)
            reset, keep = 1 / (1 + np.exp(-(reset + reset_h))), 1 / (1 + np.exp(-(keep + keep_h)))
            new = np.tanh(new + reset * (new_h + p["encoder.hidden_bias"]))
            h = (1 - keep) * new + keep * h
        return h

    def transformer(self, shape, user, items, paid, there):
        of_items = self.linear("encoder.item", items) + self.linear("encoder.reward", paid[:, None])
        x = np.concatenate([self.linear("encoder.user", user[None]), of_items]) + self.p["encoder.place"]
        mask = np.where(np.concatenate([[True], there]), 0, -1e9)
        for k in range(shape["layers"]):
            name = f"encoder.block.{k}"
            q, k, v = np.split(self.linear(f"{name}.queries_keys_values", self.norm(f"{name}.first_norm", x)), 3, 1)
            heads = []
            for q, k, v in zip(*(np.split(part, shape["heads"], 1) for part in (q, k, v))):
                scores = q @ k.T / np.sqrt(q.shape[1]) + mask
                shares = np.exp(scores - scores.max(1, keepdims=True))
                heads.append(shares / shares.sum(1, keepdims=True) @ v)
            x = x + self.linear(f"{name}.output", np.concatenate(heads, 1))
            x = x + self.mlp(f"{name}.feed_forward", self.norm(f"{name}.second_norm", x))
        return np.maximum(self.norm("encoder.norm", x[0]), 0)

    def linear(self, name, x):
        return x @ self.p[f"{name}.weight"].T + self.p[f"{name}.bias"]

    def mlp(self, name, x):
        return self.linear(f"{name}.1", np.tanh(self.linear(f"{name}.0", x)))

    def norm(self, name, x):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return scaled * self.p[f"{name}.gain"] + self.p[f"{name}.bias"]


if __name__ == "__main__":
    policy = Policy(sys.argv[1])
    print(json.dumps([policy.logits(**state).tolist() for state in json.load(sys.stdin)]))
