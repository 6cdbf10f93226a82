"""A policy of `apprentice` in NumPy: reads the file and recommends. Needs `pip install numpy safetensors`.

    policy = Policy("artifacts/quickstart/policy@seed=0/policy.safetensors")
    policy.recommend("196", history=["242", "302"], rewards=[4.2, 3.9], count=5)  # [(id, title, score), ...]

Users and items are named by their ids in the log. `policy.logits` takes row numbers instead, see there.

`python load_policy.py FILE [COUNT] < people.ndjson` answers each line as `apprentice recommend FILE --batch people.ndjson` does.
"""

import json
import sys

import numpy as np
from safetensors import safe_open

MASKED_LOGIT = -1e9  # added to scores of items that are masked


class Policy:
    def __init__(self, path):
        with safe_open(path, "numpy") as file:
            self.p = {name: file.get_tensor(name) for name in file.keys()}
            header = json.loads(file.metadata()["apprentice"])
        assert (header["kind"], header["format"]) == ("policy", 6), header
        self.shape = json.loads(header["about"])
        # What rows stand for: lists of texts, kept as the bytes of their JSON.
        text = lambda name: json.loads(self.p.pop(name).tobytes()) if name in self.p else None
        self.user_ids, self.item_ids, self.titles = text("ids.users"), text("ids.items"), text("ids.titles")
        self.users, items = self.p["table.user_vectors"], self.p["table.item_vectors"].astype(np.float64)
        # Similarity of two items: by the difference of their ratings by all users.
        self.items, self.metric = items, self.users.T.astype(np.float64) @ self.users / len(self.users)
        # Somebody who is not in the log has the mean of all vectors.
        self.users = np.concatenate([self.users, self.users.mean(0, np.float64, keepdims=True).astype(np.float32)])
        if "table.similarity_bandwidth" in self.p:  # of more than 8,192 items
            self.bandwidth = float(self.p["table.similarity_bandwidth"][0])
        else:
            pairs = np.sort(np.concatenate([self.squares(item)[:item] for item in range(len(items))]))
            rank = min(int(len(pairs) * self.shape["similar_fraction"]), len(pairs) - 1)
            self.bandwidth = max(pairs[rank], 1e-12)

    def squares(self, item):
        """Mean squared difference of the ratings of `item` and of each item, by all users."""
        difference = self.items - self.items[item]
        return np.maximum(((difference @ self.metric) * difference).sum(1), 0)

    def similar(self, item):
        return np.exp(-((self.squares(item) / self.bandwidth) ** 4))

    def recommend(self, user=None, history=(), rewards=None, count=10, exclude_history=False):
        """The best `count` items as (id, title, score), best first, for the user with that id after the items with those ids,
        oldest first, with their `rewards`. Without a user for somebody who is not in the log. Repeats follow the rule of the world
        that the policy learned in."""
        user = len(self.users) - 1 if user is None else self.row(self.user_ids, user, "user")
        shown = [self.row(self.item_ids, item, "item") for item in history]
        horizon = self.shape["horizon"]
        last = shown[max(len(shown) - (horizon - 1), 0) :]  # a longer session is at its end
        last_rewards = list(rewards)[len(shown) - len(last) :] if rewards else [0.0] * len(last)
        exclude = exclude_history or self.shape.get("repeats", "allowed") != "allowed"
        scores = self.logits(user, last, last_rewards, len(last) / horizon, shown if exclude else ())
        ranked = sorted(np.flatnonzero(scores > MASKED_LOGIT / 2), key=lambda row: (-scores[row], row))[:count]
        return [(self.item_ids[row], self.titles[row] if self.titles else None, float(scores[row])) for row in ranked]

    def row(self, ids, wanted, what):
        if ids is None:
            raise ValueError(f"the file does not say which {what}s its rows stand for; `logits` takes row numbers")
        if str(wanted) not in ids:
            raise KeyError(f"the policy knows no {what} {wanted!r}")
        return ids.index(str(wanted))

    def logits(self, user, history, rewards, progress, masked=()):
        """Scores of all items by row number; higher is better. `user`, `history` (oldest first, with `rewards`) and `masked` are
        row numbers from 0, not ids; `progress` is turns played over the horizon."""
        state, served = (user, history, rewards, progress, masked), self.shape.get("served", "logits")
        if served == "logits":
            return self.network(self.p, *state)[0]
        if served == "mixture":  # of a frozen policy and one that learned
            share = 1 / (1 + np.exp(-self.p["mixture.logit"]))
            frozen = softmax(self.network({**self.p, **self.below("frozen.")}, *state)[0])
            probs = share * frozen + (1 - share) * softmax(self.network(self.p, *state)[0])
            return np.log(np.maximum(probs, 1e-30)) + self.mask(masked)
        if "constrained" in served:  # the best by value among the likely actions
            behaviour = self.network({**self.p, **self.below("behaviour.")}, *state)[0]
            least = behaviour.max() + np.log(served["constrained"]["threshold"])
            return self.network(self.p, *state)[0] + np.where(behaviour >= least, 0, MASKED_LOGIT)
        if "decision" in served:
            return self.decide(user, history, rewards, progress, masked, **served["decision"])
        # The mean of a distribution over atoms, tilted by the logits.
        tilt, x = self.network(self.p, *state[:-1])
        atoms, p = served["categorical"], self.below("atoms.")
        hidden = np.tanh(p["hidden.0.weight"] @ x + p["hidden.0.bias"])
        own = p["weight"].reshape(len(tilt), atoms["atoms"], -1) @ hidden + p["bias"]
        probs = softmax(own + tilt[:, None] * np.linspace(-1, 1, atoms["atoms"]))
        return probs @ np.linspace(atoms["low"], atoms["high"], atoms["atoms"]) + self.mask(masked)

    def decide(self, user, history, rewards, progress, masked, unit, by_turn):
        """A decision transformer: the return of each turn, the state and the item shown, the present turn first."""
        p, window, items = self.below("decision."), self.shape["window"], self.shape["items"]
        recent = (list(history)[::-1] + [items] * window)[:window]
        paid = np.array((list(rewards)[::-1] + [0.0] * window)[:window], np.float32)
        mask = np.array([item < items for item in recent])
        if by_turn is None:  # the critic says what to ask for
            asked = unit * mlp(self.p, "critic", self.network(self.p, user, history, rewards, progress)[1])[0]
        else:
            asked = by_turn[min(round(float(np.float32(progress)) * len(by_turn)), len(by_turn) - 1)]
        v = self.users[user]
        returns = (asked + np.concatenate([[0.0], np.cumsum(paid)])) / unit
        state = linear(p, "state", np.concatenate([v, [progress]])[None])
        actions = linear(p, "action", self.vectors(self.p, recent)) + p["place"][1:]
        x = np.concatenate([linear(p, "return", returns[:, None]) + p["place"], state + p["place"], actions])
        turns = np.arange(window + 1)
        age = np.concatenate([3 * turns + 2, 3 * turns + 1, 3 * turns[1:]])  # a token sees itself and older ones
        there = np.concatenate([[True], mask, [True], mask, mask])
        x = blocks(p, self.shape["encoder"]["transformer"], x, np.where(there & (age[None, :] >= age[:, None]), 0, MASKED_LOGIT), "block")
        return self.scores(self.p, np.concatenate([v, norm(p, "norm", x[window + 1]), [progress]]), v, recent, masked)

    def mask(self, items):
        mask = np.zeros(self.shape["items"])
        mask[list(items)] = MASKED_LOGIT
        return mask

    def below(self, prefix):
        return {name[len(prefix):]: array for name, array in self.p.items() if name.startswith(prefix)}

    def vectors(self, p, recent):
        """The vectors of the recent items, with the embeddings of their columns where the policy reads some."""
        found = p["item_in"][recent]
        if "item_features" in p:
            ids, weights = (self.p[f"table.item_feature_{name}"] for name in ("ids", "weights"))
            for place, item in enumerate(recent):
                if item < self.shape["items"]:
                    found[place] += weights[item] @ p["item_features"][ids[item].astype(int)]
        return found

    def network(self, p, user, history, rewards, progress, masked=()):
        """Logits of all items by these parameters, and what they are computed from."""
        window, items = self.shape["window"], self.shape["items"]
        recent = (list(history)[::-1] + [items] * window)[:window]  # newest first; `items` where there is none
        recent_rewards = np.array((list(rewards)[::-1] + [0.0] * window)[:window], np.float32)
        mask = np.array([item < items for item in recent])
        v = self.users[user]
        x = np.concatenate([v, self.encode(p, v, self.vectors(p, recent), recent_rewards, mask), [progress]])
        return self.scores(p, x, v, recent, masked), x

    def scores(self, p, x, v, recent, masked):
        """Logits of all items in the state x."""
        items = self.shape["items"]
        query = mlp(p, "actor", x) + p["prior"] * v
        shown, alike = np.zeros(items), np.zeros(items)
        for item in (item for item in recent if item < items):
            shown[item] += 1
            alike += self.similar(item)
        logits = query @ p["item_out"].T + p["bias"] + 100 * (p["shown"] * shown + p["alike"] * alike)
        return logits + self.mask(masked)

    def encode(self, p, user, items, rewards, mask):
        """The last items as one vector; what kind of encoder it is stands in the file."""
        encoder = self.shape.get("encoder", "window")
        if encoder == "window":
            return items.reshape(-1)
        if "average" in encoder:
            mask = mask[: encoder["average"]["n_recent"]]
            return (items[: len(mask)] * mask[:, None]).sum(0) / max(mask.sum(), 1)
        if "gru" in encoder:
            return gru(p, np.concatenate([items, rewards[:, None]], 1), mask)
        if "sasrec" in encoder:
            return sasrec(p, encoder["sasrec"], items, mask)
        if "caser" in encoder:
            return caser(p, items * mask[:, None])
        return transformer(p, encoder["transformer"], user, items, rewards, mask)


def gru(p, x, mask):
    h = np.zeros(len(p["encoder.hidden"]))
    for now in np.flatnonzero(mask)[::-1]:  # oldest first
        reset, keep, new = np.split(x[now] @ p["encoder.input"] + p["encoder.input_bias"], 3)
        reset_h, keep_h, new_h = np.split(h @ p["encoder.hidden"], 3)
        reset, keep = 1 / (1 + np.exp(-(reset + reset_h))), 1 / (1 + np.exp(-(keep + keep_h)))
        new = np.tanh(new + reset * (new_h + p["encoder.hidden_bias"]))
        h = (1 - keep) * new + keep * h
    return h


def transformer(p, shape, user, items, rewards, mask):
    of_items = linear(p, "encoder.item", items) + linear(p, "encoder.reward", rewards[:, None])
    x = np.concatenate([linear(p, "encoder.user", user[None]), of_items]) + p["encoder.place"]
    x = blocks(p, shape, x, np.where(np.concatenate([[True], mask]), 0, MASKED_LOGIT))
    return np.maximum(norm(p, "encoder.norm", x[0]), 0)


def sasrec(p, shape, items, mask):
    x = linear(p, "encoder.item", items) + p["encoder.place"]
    old = np.arange(len(items))  # an item sees itself and older ones
    x = blocks(p, shape, x, np.where(mask & (old[None, :] >= old[:, None]), 0, MASKED_LOGIT))
    return norm(p, "encoder.norm", x[0]) * mask[0]


def blocks(p, shape, x, mask, below="encoder.block"):
    for k in range(shape["n_layers"]):
        name = f"{below}.{k}"
        q, k, v = np.split(linear(p, f"{name}.queries_keys_values", norm(p, f"{name}.first_norm", x)), 3, 1)
        heads = []
        for q, k, v in zip(*(np.split(part, shape["n_heads"], 1) for part in (q, k, v))):
            heads.append(softmax(q @ k.T / np.sqrt(q.shape[1]) + mask) @ v)
        x = x + linear(p, f"{name}.output", np.concatenate(heads, 1))
        x = x + mlp(p, f"{name}.feed_forward", norm(p, f"{name}.second_norm", x))
    return x


def caser(p, image):
    found = []
    for height in range(1, len(image) + 1):
        slices = np.stack([image[t : t + height].reshape(-1) for t in range(len(image) - height + 1)])
        found.append(np.maximum(linear(p, f"encoder.horizontal.{height}", slices), 0).max(0))
    found.append((p["encoder.vertical"] @ image).reshape(-1))
    return np.maximum(linear(p, "encoder.output", np.concatenate(found)), 0)


def softmax(x):
    shares = np.exp(x - x.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)


def linear(p, name, x):
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def mlp(p, name, x):
    return linear(p, f"{name}.1", np.tanh(linear(p, f"{name}.0", x)))


def norm(p, name, x):
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return scaled * p[f"{name}.gain"] + p[f"{name}.bias"]


if __name__ == "__main__":
    policy, count = Policy(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 10
    for line in filter(str.strip, sys.stdin):
        asked = json.loads(line)
        items = [dict(zip(("id", "title", "score"), item)) for item in policy.recommend(**asked, count=count)]
        print(json.dumps({"user": asked.get("user"), "items": items}))
