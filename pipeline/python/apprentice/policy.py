"""A trained policy that answers in this process, with NumPy alone, as `apprentice recommend` answers."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from .encoders import MASKED, reads_rewards
from .errors import UsageError
from .network import Network

#: The form of policy files that is read here, as `PolicyFile::FORMAT` of the program.
FORMAT = 6

Id = str | int


@dataclass(frozen=True)
class Recommended:
    """A recommended item."""

    id: str  #: Its id in the log.
    title: str | None  #: Its title, where one is known.
    score: float  #: A log-probability or a value, by the kind of policy.
    new_item: bool = False  #: Whether `apprentice add-items` added it, so that it is scored by its columns.


@dataclass(frozen=True)
class Answer:
    """An answer, which is also the sequence of its items."""

    user: str | None  #: Whom it is for; `None` where the question named nobody.
    items: list[Recommended]  #: Best first.
    new_user: bool  #: Whether the log has no such user, so that the answer is from the history alone.
    note: str | None  #: Why there are fewer items than asked for.

    def __iter__(self) -> Iterator[Recommended]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


class Policy:
    """A policy in memory. Answers are those of the program, in the same order but for scores that differ in their last bits only."""

    def __init__(self, network: Network, users: Sequence[str], items: Sequence[str], titles: Sequence[str]) -> None:
        self._network = network
        #: The ids of the users of its log, by row.
        self.user_ids = users
        #: The ids of the items of its catalogue, by row.
        self.item_ids = items
        #: Their titles, where those are known.
        self.titles = titles
        self._user_rows = _rows(users)
        self._item_rows = _rows(items)
        self._title_rows: dict[str, list[int]] = {}
        for row, title in enumerate(titles):
            self._title_rows.setdefault(title, []).append(row)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Policy":
        """Reads the file of a policy, such as `artifacts/first/policy@seed=0/policy.safetensors`."""
        try:
            with safe_open(os.fspath(path), "numpy") as file:
                arrays: dict[str, NDArray[Any]] = {name: file.get_tensor(name) for name in file.keys()}
                told = json.loads((file.metadata() or {}).get("apprentice", "{}"))
        except FileNotFoundError:
            raise UsageError(f"there is no file `{path}`", "`apprentice run` makes it") from None
        except SafetensorError as error:
            raise UsageError(f"`{path}` is no whole safetensors file: {error}", "`apprentice inspect` tells what it is") from None
        if told.get("kind") != "policy":
            raise UsageError(f"`{path}` holds no policy", "policies come from `rl` stages")
        if told["format"] != FORMAT:
            raise UsageError(
                f"`{path}` is a policy of format {told['format']}, and this package reads format {FORMAT}",
                "run the experiment again with the program of this package, or install the package of that program",
            )

        def texts(name: str) -> list[str]:
            """Of a list of texts the file holds the bytes of its JSON."""
            found: list[str] = json.loads(arrays.pop(name).tobytes()) if name in arrays else []
            return found

        users, items, titles = texts("ids.users"), texts("ids.items"), texts("ids.titles")
        if not users or not items:
            raise UsageError(
                f"`{path}` does not say which users and items its rows stand for",
                "`apprentice recommend --rows` asks by row number",
            )
        return cls(Network(arrays, json.loads(told["about"])), users, items, titles)

    @property
    def learner(self) -> str:
        """The kind of stage that trained it (`rl.a2c`)."""
        return str(self._network.header["learner"])

    @property
    def horizon(self) -> int:
        """Steps of an episode that it learned from."""
        return int(self._network.header["horizon"])

    def __repr__(self) -> str:
        return f"<Policy of {self.learner}: {len(self.user_ids)} users, {len(self.item_ids)} items, horizon {self.horizon}>"

    def recommend(
        self,
        user: Id | None = None,
        history: Iterable[Id] = (),
        *,
        rewards: Iterable[float] = (),
        top_k: int = 10,
        exclude: Iterable[Id] = (),
        candidates: Iterable[Id] | None = None,
        exclude_history: bool = False,
        new_user: bool = False,
    ) -> Answer:
        """The best `top_k` items for a user after the items of this session.

        Users and items go by their ids in the log, items also by their exact title. `history` is oldest first; `rewards` is what each of
        it earned, which some policies read. Nothing of `exclude` is recommended, and nothing but `candidates` where they are given. The
        history may be recommended again where the world that the policy learned in allows repeats, unless `exclude_history`. Without a
        `user`, or with `new_user` for an id that is not in the log, the answer is from the history alone.
        """
        if top_k < 1:
            raise UsageError(f"`top_k` is {top_k}, wanted a whole number from 1")
        row = self._user(user, new_user)
        shown, earned = self._session(user, history, rewards)
        wanted = None if candidates is None else {self._item(item) for item in candidates}
        masked = self._masked(shown, {self._item(item) for item in exclude}, wanted, exclude_history)
        scores = self._scores(row, shown, earned, masked)
        possible = np.flatnonzero(scores.astype(np.float64) > MASKED / 2)
        # Of equal scores the first item comes first.
        best = possible[np.argsort(-scores[possible], kind="stable")]
        count = min(top_k, len(self.item_ids) if wanted is None else len(wanted))
        items = [self._recommended(int(item), float(scores[item])) for item in best[:count]]
        fresh = len(self.item_ids) - len(masked)
        note = None
        if len(items) < min(count, fresh):
            note = f"{len(items)} instead of {count}: the policy allows no other item in this state"
        elif len(items) < count:
            note = f"{len(items)} instead of {count}: the others are excluded"
        return Answer(None if user is None else str(user), items, row == len(self.user_ids), note)

    def scores(
        self, user: Id | None = None, history: Iterable[Id] = (), *, rewards: Iterable[float] = (), new_user: bool = False
    ) -> NDArray[np.float32]:
        """The scores of all items in the order of `item_ids`, with nothing excluded."""
        shown, earned = self._session(user, history, rewards)
        return self._scores(self._user(user, new_user), shown, earned, frozenset())

    def _scores(
        self, user: int, shown: list[int], earned: list[float], masked: frozenset[int]
    ) -> NDArray[np.float32]:
        # A session that is longer than any it learned from is at its end.
        first = max(len(shown) - (self.horizon - 1), 0)
        shown, earned = shown[first:], earned[first:]
        progress = float(np.float32(len(shown)) / np.float32(self.horizon))
        return self._network.scores(user, shown, earned, progress, masked).astype(np.float32)

    def _session(self, user: Id | None, history: Iterable[Id], rewards: Iterable[float]) -> tuple[list[int], list[float]]:
        shown = [self._item(item) for item in history]
        earned = [float(np.float32(reward)) for reward in rewards]
        if not np.isfinite(earned).all():
            raise UsageError("a reward is not a finite number of 32 bits")
        if len(earned) == len(shown):
            return shown, earned
        reads = reads_rewards(self._network.header.get("encoder"))
        if not earned and not reads:
            return shown, [0.0] * len(shown)
        whose = "a new user" if user is None else f'user "{user}"'
        why = "this policy reads the reward of each item" if reads else "this policy does not read rewards: leave them out, or"
        raise UsageError(
            f"{whose}: the history has {len(shown)} items and {len(earned)} rewards",
            f"{why}{':' if reads else ''} give as many `rewards` as `history`, in the same order",
        )

    def _masked(
        self, shown: list[int], exclude: set[int], candidates: set[int] | None, exclude_history: bool
    ) -> frozenset[int]:
        """What may not be recommended."""
        items = len(self.item_ids)
        if exclude_history or self._network.header.get("repeats", "allowed") != "allowed":
            exclude = exclude.union(shown)
        masked = exclude if candidates is None else {row for row in range(items) if row in exclude or row not in candidates}
        if len(masked) == items:
            raise UsageError("nothing is left to recommend: all candidates are excluded, or in the history", "exclude less")
        return frozenset(masked)

    def _user(self, user: Id | None, new_user: bool) -> int:
        nobody = len(self.user_ids)
        row = nobody if user is None else self._user_rows.get(str(user))
        if row is None and new_user:
            row = nobody
        if row is None:
            known = min(self.user_ids)
            raise UsageError(
                f'the policy knows no user "{user}"',
                f'it knows the {nobody} users of its log by their ids, such as "{known}"; `new_user=True` answers anybody',
            )
        return row

    def _item(self, item: Id) -> int:
        name = str(item)
        row = self._item_rows.get(name)  # an id goes before a title that reads like it
        if row is not None:
            return row
        rows = self._title_rows.get(name, [])
        if len(rows) == 1:
            return rows[0]
        if not rows:
            raise UsageError(f'the policy\'s catalogue has no item "{name}"', "give its id or its exact title")
        ids = ", ".join(self.item_ids[row] for row in rows)
        raise UsageError(f'{len(rows)} items have the title "{name}"', f"give the id of one: {ids}")

    def _recommended(self, row: int, score: float) -> Recommended:
        new = row >= len(self.item_ids) - int(self._network.header.get("added_items", 0))
        return Recommended(self.item_ids[row], self.titles[row] if self.titles else None, score, new)


def _rows(names: Sequence[str]) -> dict[str, int]:
    """The first row of each name."""
    rows: dict[str, int] = {}
    for row, name in enumerate(names):
        rows.setdefault(name, row)
    return rows
