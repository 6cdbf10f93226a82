"""A policy behind FastAPI and NumPy, the peer of `serve.py`: one process, arrays and ids prepared once.

    taskset -c 0 python serve_fastapi.py POLICY --port 8000
"""

import os
import pathlib
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "data"))

import numpy as np
import uvicorn
from fastapi import FastAPI
from load_policy import MASKED_LOGIT, Policy
from pydantic import BaseModel


class Question(BaseModel):
    user: str | None = None
    history: list[str] = []
    top_k: int = 10


class Served(Policy):
    """`Policy` with rows of ids in a dictionary, and the best items without a sort of the catalogue."""

    def __init__(self, path):
        super().__init__(path)
        self.rows = {id(ids): {name: row for row, name in enumerate(ids)} for ids in (self.user_ids, self.item_ids)}

    def row(self, ids, wanted, what):
        return self.rows[id(ids)][wanted]

    def best(self, question):
        user = self.rows[id(self.user_ids)].get(question.user, len(self.users) - 1)
        shown = [self.row(self.item_ids, item, "item") for item in question.history]
        horizon = self.shape["horizon"]
        last = shown[max(len(shown) - (horizon - 1), 0) :]
        exclude = shown if self.shape.get("repeats", "allowed") != "allowed" else ()
        scores = self.logits(user, last, [0.0] * len(last), len(last) / horizon, exclude)
        few = np.argpartition(-scores, question.top_k)[: question.top_k]
        return [(int(row), float(scores[row])) for row in few[np.lexsort((few, -scores[few]))] if scores[row] > MASKED_LOGIT / 2]


def app(path):
    policy, app = Served(path), FastAPI()

    @app.post("/recommend")
    async def recommend(question: Question):
        items = [
            {"id": policy.item_ids[row], "title": policy.titles[row] if policy.titles else None, "score": score}
            for row, score in policy.best(question)
        ]
        return {"user": question.user, "items": items}

    return app


if __name__ == "__main__":
    uvicorn.run(app(sys.argv[1]), port=int(sys.argv[sys.argv.index("--port") + 1]), access_log=False, log_level="error")
