"""Policies answer as the program does: `APPRENTICE_TEST_POLICIES` is a folder of policies with questions and its answers."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apprentice import Policy, Recommended, UsageError

FOLDER = Path(os.environ["APPRENTICE_TEST_POLICIES"])
FILES = sorted(FOLDER.glob("*.safetensors"))


def asked(file: Path) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Questions as arguments of `recommend`, each with the answer of the program."""
    told = json.loads(file.with_suffix(".json").read_text())
    pairs = []
    for part in told["asked"]:
        for question, answer in zip(part["questions"], part["answers"], strict=True):
            pairs.append(({**question, "exclude_history": part["exclude_history"], "new_user": True}, answer))
    return pairs


@pytest.mark.parametrize("file", FILES, ids=[json.loads(file.with_suffix(".json").read_text())["what"] for file in FILES])
def test_answers_are_those_of_the_program(file: Path) -> None:
    policy = Policy.load(file)
    for question, wanted in asked(file):
        found = policy.recommend(**question)
        assert len(found) == len(wanted["items"])
        scores = np.array([item["score"] for item in wanted["items"]])
        np.testing.assert_allclose([item.score for item in found], scores, rtol=1e-5, atol=1e-5)
        for place, (item, other) in enumerate(zip(found, wanted["items"], strict=True)):
            if (item.id, item.title) != (other["id"], other["title"]):
                # Two items change places only where the last bits of their scores tell them apart.
                everything = policy.recommend(**{**question, "top_k": len(policy.item_ids)})
                [here] = [one.score for one in everything if one.id == other["id"]]
                assert np.isclose(here, item.score, rtol=1e-6, atol=1e-6), (place, question)
        told = (found.user, found.new_user, found.note)
        assert told == (wanted["user"], wanted.get("new_user", False), wanted.get("note"))


def test_there_are_policies_of_every_form() -> None:
    assert len(FILES) > 25


def test_an_answer_is_the_sequence_of_its_items() -> None:
    policy = Policy.load(FILES[0])
    answer = policy.recommend(user="0", history=["3"], rewards=[2.0], top_k=2)
    first, second = answer
    assert isinstance(first, Recommended) and first.score >= second.score and len(answer) == 2
    scores = policy.scores(user="0", history=["3"], rewards=[2.0])
    assert scores[policy.item_ids.index(first.id)] == np.float32(first.score)
    assert (policy.learner, policy.horizon) == ("rl.a2c", 10)


@pytest.mark.parametrize(
    ("question", "message", "help"),
    [
        ({"user": "x"}, 'no user "x"', "`new_user=True`"),
        ({"history": ["x"], "rewards": [1]}, 'no item "x"', "exact title"),
        ({"history": ["3"], "rewards": [1, 2]}, "1 items and 2 rewards", "as many `rewards`"),
        ({"history": ["3"], "rewards": [float("inf")]}, "not a finite number", None),
        ({"top_k": 0}, "`top_k` is 0", None),
        ({"candidates": ["3"], "exclude": ["3"]}, "nothing is left", "exclude less"),
    ],
)
def test_a_bad_question_is_told_what_is_wrong(question: dict[str, Any], message: str, help: str | None) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        Policy.load(FILES[0]).recommend(**question)
    assert help is None or help in str(caught.value)


def test_rewards_are_asked_for_by_those_that_read_them() -> None:
    [reads] = [file for file in FILES if "Logits of Gru" in json.loads(file.with_suffix(".json").read_text())["what"]]
    with pytest.raises(UsageError, match="1 items and 0 rewards") as caught:
        Policy.load(reads).recommend(history=["3"])
    assert "reads the reward of each item" in str(caught.value)


def test_what_is_no_policy_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "x.safetensors"
    with pytest.raises(UsageError, match="there is no file"):
        Policy.load(other)
    other.write_text("no tensors at all")
    with pytest.raises(UsageError, match="is no whole safetensors file"):
        Policy.load(other)
