"""A policy's scores of all items in NumPy, as `stages::nn` computes them; users and items are row numbers here."""

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .encoders import MASKED, Array, Parameters, blocks, encode, linear, mlp, norm, sigmoid, softmax

#: Pairs closer than this differ by rounding alone, absolutely and against the mean.
_APART = 1e-12


class Network:
    """The arrays of a policy's file with its header."""

    def __init__(self, arrays: Parameters, header: Mapping[str, Any]) -> None:
        self._p = arrays
        self.header = header
        self.items: int = header["items"]
        self.window: int = header["window"]
        users = arrays["table.user_vectors"]
        self.users = len(users)
        # Somebody who is not in the log has the mean of all vectors.
        mean = users.mean(0, np.float64, keepdims=True).astype(np.float32)
        self._users = np.concatenate([users, mean]).astype(np.float64)
        self._frozen, self._behaviour, self._decision, self._atoms = (
            {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}
            for prefix in ("frozen.", "behaviour.", "decision.", "atoms.")
        )

    def scores(
        self, user: int, history: Sequence[int], rewards: Sequence[float], progress: float, masked: Collection[int] = ()
    ) -> Array:
        """Scores of all items, higher is better: after `history` (oldest first, with `rewards`), `progress` turns over the horizon.
        Row `users` is somebody new. What is masked has a score far below all others."""
        state = (user, history, rewards, progress, masked)
        served = self.header.get("served", "logits")
        if served == "logits":
            return self._network(self._p, *state)
        if served == "mixture":  # of a frozen policy and one that learned
            share = sigmoid(self._p["mixture.logit"].astype(np.float64))
            frozen = softmax(self._network({**self._p, **self._frozen}, *state))
            probs = share * frozen + (1 - share) * softmax(self._network(self._p, *state))
            mixed: Array = np.log(np.maximum(probs, 1e-30))
            return mixed + self._mask(masked)
        if "constrained" in served:  # the best by value among the likely actions
            behaviour = self._network({**self._p, **self._behaviour}, *state)
            threshold = served["constrained"]["threshold"]
            least = behaviour.max() + (np.log(threshold) if threshold > 0 else -np.inf)
            return self._network(self._p, *state) + np.where(behaviour >= least, 0, MASKED)
        if "decision" in served:
            return self._decide(*state, **served["decision"])
        if "categorical" in served:
            return self._expect(*state, **served["categorical"])
        raise NotImplementedError(f"scores of the form {served!r}")

    def _expect(
        self,
        user: int,
        history: Sequence[int],
        rewards: Sequence[float],
        progress: float,
        masked: Collection[int],
        low: float,
        high: float,
        atoms: int,
    ) -> Array:
        """The mean of a distribution over atoms, tilted by the logits."""
        recent, v, x = self._state(self._p, user, history, rewards, progress)
        tilt, p = self._scores(self._p, x, v, recent, ()), self._atoms
        hidden = np.tanh(linear(p, "hidden.0", x))
        own = p["weight"].reshape(self.items, atoms, -1) @ hidden + p["bias"]
        found: Array = softmax(own + tilt[:, None] * np.linspace(-1, 1, atoms)) @ np.linspace(low, high, atoms)
        return found + self._mask(masked)

    def _decide(
        self,
        user: int,
        history: Sequence[int],
        rewards: Sequence[float],
        progress: float,
        masked: Collection[int],
        unit: float,
        by_turn: Sequence[float] | None,
    ) -> Array:
        """A decision transformer: the return of each turn, the state and the item shown, the present turn first."""
        p, window = self._decision, self.window
        recent, v, x = self._state(self._p, user, history, rewards, progress)
        mask = recent < self.items
        if by_turn is None:  # the critic says what to ask for
            asked = unit * float(mlp(self._p, "critic", x)[0])
        else:
            asked = by_turn[min(int(np.float32(progress) * np.float32(len(by_turn)) + np.float32(0.5)), len(by_turn) - 1)]
        returns = (asked + np.concatenate([[0.0], np.cumsum(self._paid(rewards))])) / unit
        state = linear(p, "state", np.concatenate([v, [progress]])[None])
        actions = linear(p, "action", self._vectors(self._p, recent)) + p["place"][1:]
        tokens = np.concatenate([linear(p, "return", returns[:, None]) + p["place"], state + p["place"], actions])
        turns = np.arange(window + 1)
        age = np.concatenate([3 * turns + 2, 3 * turns + 1, 3 * turns[1:]])  # a token sees itself and older ones
        there = np.concatenate([[True], mask, [True], mask, mask])
        seen = np.where(there & (age[None, :] >= age[:, None]), 0.0, MASKED)
        tokens = blocks(p, self.header["encoder"]["transformer"], tokens, seen, "block")
        x = np.concatenate([v, norm(p, "norm", tokens[window + 1]), [progress]])
        return self._scores(self._p, x, v, recent, masked)

    def _network(
        self,
        p: Parameters,
        user: int,
        history: Sequence[int],
        rewards: Sequence[float],
        progress: float,
        masked: Collection[int],
    ) -> Array:
        """Logits of an actor with these parameters."""
        recent, v, x = self._state(p, user, history, rewards, progress)
        return self._scores(p, x, v, recent, masked)

    def _state(
        self, p: Parameters, user: int, history: Sequence[int], rewards: Sequence[float], progress: float
    ) -> tuple[NDArray[np.int64], Array, Array]:
        """The last items, newest first and `items` where there is none; the user's vector; and both encoded."""
        newest = list(history)[::-1][: self.window]
        recent = np.array(newest + [self.items] * (self.window - len(newest)), np.int64)
        v: Array = self._users[user]
        encoder = self.header.get("encoder", "window")
        encoded = encode(encoder, p, v, self._vectors(p, recent), self._paid(rewards), recent < self.items)
        return recent, v, np.concatenate([v, encoded, [progress]])

    def _paid(self, rewards: Sequence[float]) -> Array:
        newest = list(rewards)[::-1][: self.window]
        return np.array(newest + [0.0] * (self.window - len(newest)), np.float32).astype(np.float64)

    def _vectors(self, p: Parameters, recent: NDArray[np.int64]) -> Array:
        """The vectors of the recent items, with the embeddings of their columns where the policy reads some."""
        found: Array = p["item_in"][recent].astype(np.float64)
        if "item_features" in p:
            ids, weights = (self._p[f"table.item_feature_{name}"] for name in ("ids", "weights"))
            for place, item in enumerate(recent):
                if item < self.items:
                    found[place] += weights[item] @ p["item_features"][ids[item].astype(int)]
        return found

    def _scores(
        self, p: Parameters, x: Array, v: Array, recent: NDArray[np.int64], masked: Collection[int]
    ) -> Array:
        """Logits in the state x."""
        known = recent[recent < self.items]
        shown, alike = np.bincount(known, minlength=self.items), self._similar(known).sum(0)
        query = mlp(p, "actor", x) + p["prior"] * v
        logits: Array = query @ p["item_out"].T + p["bias"] + 100 * (p["shown"] * shown + p["alike"] * alike)
        return logits + self._mask(masked)

    def _mask(self, items: Collection[int]) -> Array:
        mask = np.zeros(self.items)
        mask[list(items)] = MASKED
        return mask

    def _similar(self, items: NDArray[np.int64]) -> Array:
        """Of n items to all, `[n, I]`."""
        squares = self._squares(items) / self._bandwidth
        squares *= squares
        found: Array = np.exp(-squares * squares)
        return found

    def _squares(self, items: NDArray[np.int64]) -> Array:
        """Mean squared difference of the ratings of n items and of each item, by all users: `[n, I]`."""
        rated, lengths = self._rated
        found: Array = np.maximum(lengths[items, None] + lengths - 2 * (rated[items] @ rated.T), 0)
        return found

    @cached_property
    def _rated(self) -> tuple[Array, Array]:
        """Vectors of the items whose products are those of all users' ratings, and their squared lengths."""
        users = self._p["table.user_vectors"].astype(np.float64)
        values, vectors = np.linalg.eigh(users.T @ users / len(users))
        rated = self._p["table.item_vectors"].astype(np.float64) @ (vectors * np.sqrt(np.maximum(values, 0)))
        return rated, (rated**2).sum(1)

    @cached_property
    def _bandwidth(self) -> float:
        """The squared distance below which the policy's share of all pairs lies."""
        told = self._p.get("table.similarity_bandwidth")
        if told is not None:  # of more than 8,192 items
            return float(told[0])
        if self.items < 2:
            return 1.0
        rows = np.arange(self.items)
        pairs = np.concatenate([self._squares(rows[item : item + 1])[0, :item] for item in rows])
        apart = max(_APART, _APART * float(pairs.mean()))
        found = self._of_share(pairs)
        if found > apart:
            return found
        others = pairs[pairs > apart]
        return self._of_share(others) if len(others) else apart

    def _of_share(self, pairs: Array) -> float:
        rank = min(int(len(pairs) * self.header["similar_fraction"]), len(pairs) - 1)
        return float(np.partition(pairs, rank)[rank])
