"""Exported graphs score as the program does: beside each policy of `APPRENTICE_TEST_POLICIES` lies `N.onnx`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from test_policy import FILES, asked


def states(session: Any, told: dict[str, Any], questions: list[dict[str, Any]]) -> dict[str, NDArray[Any]]:
    """Questions as the graph is asked them, by its metadata alone."""
    rows = {name: row for row, name in enumerate(told["items"])}
    rows = {**{name: row for row, name in enumerate(told["titles"])}, **rows}
    users, items, window = told["users"], len(told["items"]), told["window"]
    batch = len(questions)
    found = {
        "user": np.full(batch, len(users), np.int64),
        "recent": np.full((batch, window), items, np.int64),
        "rewards": np.zeros((batch, window), np.float32),
        "progress": np.zeros(batch, np.float32),
        "allowed": np.ones((batch, items), np.bool_),
    }
    for k, question in enumerate(questions):
        if str(question.get("user")) in users:
            found["user"][k] = users.index(str(question["user"]))
        shown = [rows[str(item)] for item in question["history"]]
        last = shown[::-1][: told["horizon"] - 1]
        found["recent"][k, : len(last)] = last[:window]
        found["rewards"][k, : len(last)] = question["rewards"][::-1][: len(last)][:window]
        found["progress"][k] = np.float32(len(last)) / np.float32(told["horizon"])
        if "candidates" in question:
            found["allowed"][k] = False
            found["allowed"][k, [rows[str(item)] for item in question["candidates"]]] = True
        found["allowed"][k, [rows[str(item)] for item in question["exclude"]]] = False
        if question["exclude_history"] or told["repeats"] != "allowed":
            found["allowed"][k, shown] = False
    return {one.name: found[one.name] for one in session.get_inputs()}


@pytest.mark.parametrize("file", FILES, ids=[json.loads(file.with_suffix(".json").read_text())["what"] for file in FILES])
def test_scores_are_those_of_the_program(file: Path) -> None:
    graph = file.with_suffix(".onnx")
    onnx.checker.check_model(str(graph), full_check=True)
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    told = {name: json.loads(text) for name, text in session.get_modelmeta().custom_metadata_map.items()}
    pairs = asked(file)
    [scores] = session.run(["scores"], states(session, told, [question for question, _ in pairs]))
    assert scores.shape == (len(pairs), len(told["items"]))
    for found, (question, wanted) in zip(scores, pairs, strict=True):
        items = wanted["items"]
        rows = [told["items"].index(item["id"]) for item in items]
        np.testing.assert_allclose(found[rows], [item["score"] for item in items], rtol=1e-4, atol=1e-4, err_msg=str(question))
        # Whatever the answer leaves out is no better.
        others = np.delete(found, rows)
        if len(others) and len(rows) == question.get("top_k", 10):
            assert others.max() <= found[rows].min() + 1e-4
