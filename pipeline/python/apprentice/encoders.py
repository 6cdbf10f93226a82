"""The state encoders in NumPy, as `stages::nn` computes them: the last items of a session, newest first, as one vector."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
#: Parameters by name.
Parameters = Mapping[str, NDArray[Any]]

#: What scores of masked items, and of positions that attention does not see, are lowered by.
MASKED = -1e9


def encode(encoder: Any, p: Parameters, user: Array, items: Array, rewards: Array, mask: NDArray[np.bool_]) -> Array:
    """By the encoder that a policy's header names; `items [W, D]`, `rewards [W]` and `mask [W]`, which is false behind the session."""
    if encoder == "window":
        return items.reshape(-1)
    if "average" in encoder:
        mask = mask[: encoder["average"]["n_recent"]]
        found: Array = (items[: len(mask)] * mask[:, None]).sum(0) / max(mask.sum(), 1)
        return found
    if "gru" in encoder:
        return _gru(p, np.concatenate([items, rewards[:, None]], 1), mask)
    if "sasrec" in encoder:
        return _sasrec(p, encoder["sasrec"], items, mask)
    if "caser" in encoder:
        return _caser(p, items * mask[:, None])
    if "transformer" in encoder:
        return _transformer(p, encoder["transformer"], user, items, rewards, mask)
    raise NotImplementedError(f"the encoder {encoder!r}")


def reads_rewards(encoder: Any) -> bool:
    """Whether an encoder reads what the items earned."""
    return isinstance(encoder, dict) and ("gru" in encoder or "transformer" in encoder)


def _gru(p: Parameters, x: Array, mask: NDArray[np.bool_]) -> Array:
    h = np.zeros(len(p["encoder.hidden"]))
    for now in np.flatnonzero(mask)[::-1]:  # oldest first
        reset, keep, new = np.split(x[now] @ p["encoder.input"] + p["encoder.input_bias"], 3)
        reset_h, keep_h, new_h = np.split(h @ p["encoder.hidden"], 3)
        reset, keep = sigmoid(reset + reset_h), sigmoid(keep + keep_h)
        new = np.tanh(new + reset * (new_h + p["encoder.hidden_bias"]))
        h = (1 - keep) * new + keep * h
    return h


def _transformer(
    p: Parameters, shape: Any, user: Array, items: Array, rewards: Array, mask: NDArray[np.bool_]
) -> Array:
    of_items = linear(p, "encoder.item", items) + linear(p, "encoder.reward", rewards[:, None])
    x = np.concatenate([linear(p, "encoder.user", user[None]), of_items]) + p["encoder.place"]
    x = blocks(p, shape, x, np.where(np.concatenate([[True], mask]), 0.0, MASKED))
    return np.maximum(norm(p, "encoder.norm", x[0]), 0)


def _sasrec(p: Parameters, shape: Any, items: Array, mask: NDArray[np.bool_]) -> Array:
    x = linear(p, "encoder.item", items) + p["encoder.place"]
    old = np.arange(len(items))  # an item sees itself and older ones
    x = blocks(p, shape, x, np.where(mask & (old[None, :] >= old[:, None]), 0.0, MASKED))
    found: Array = norm(p, "encoder.norm", x[0]) * mask[0]
    return found


def _caser(p: Parameters, image: Array) -> Array:
    found = []
    for height in range(1, len(image) + 1):
        slices = np.stack([image[t : t + height].reshape(-1) for t in range(len(image) - height + 1)])
        found.append(np.maximum(linear(p, f"encoder.horizontal.{height}", slices), 0).max(0))
    found.append((p["encoder.vertical"] @ image).reshape(-1))
    return np.maximum(linear(p, "encoder.output", np.concatenate(found)), 0)


def blocks(p: Parameters, shape: Any, x: Array, mask: Array, below: str = "encoder.block") -> Array:
    """Attention blocks over `x [T, H]`; `mask` is added to what a position (row) sees of another (column)."""
    for k in range(shape["n_layers"]):
        name = f"{below}.{k}"
        parts = np.split(linear(p, f"{name}.queries_keys_values", norm(p, f"{name}.first_norm", x)), 3, 1)
        heads = []
        for q, keys, v in zip(*(np.split(part, shape["n_heads"], 1) for part in parts), strict=True):
            heads.append(softmax(q @ keys.T / np.sqrt(q.shape[1]) + mask) @ v)
        x = x + linear(p, f"{name}.output", np.concatenate(heads, 1))
        x = x + mlp(p, f"{name}.feed_forward", norm(p, f"{name}.second_norm", x))
    return x


def sigmoid(x: Any) -> Any:
    """1 / (1 + e^−x)."""
    return 1 / (1 + np.exp(-x))


def softmax(x: Array) -> Array:
    """Over the last dimension."""
    shares = np.exp(x - x.max(-1, keepdims=True))
    found: Array = shares / shares.sum(-1, keepdims=True)
    return found


def linear(p: Parameters, name: str, x: Array) -> Array:
    """`x [.., I]` → `[.., O]`."""
    found: Array = x @ p[f"{name}.weight"].T + p[f"{name}.bias"]
    return found


def mlp(p: Parameters, name: str, x: Array) -> Array:
    """Two layers with a tanh between them."""
    return linear(p, f"{name}.1", np.tanh(linear(p, f"{name}.0", x)))


def norm(p: Parameters, name: str, x: Array) -> Array:
    """Layer normalisation."""
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    found: Array = scaled * p[f"{name}.gain"] + p[f"{name}.bias"]
    return found
