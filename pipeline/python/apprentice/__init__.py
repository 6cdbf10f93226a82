"""Runs experiments of the `apprentice` program, serves the policies that they train, and reads what they made.

    import apprentice

    run = apprentice.run("first.yaml").wait()
    policy = apprentice.Policy.load(run.path("policy@seed=0.policy"))
    policy.recommend(user="196", history=["242"], top_k=5).items
    run.read("score.metrics", to="pandas")
"""

from .artifacts import read_artifact
from .errors import ApprenticeError, UsageError
from .events import (
    Event,
    Note,
    Progress,
    ProgressEnded,
    Queued,
    RunEnded,
    RunStarted,
    StageEnded,
    StageStarted,
    Unknown,
    Waiting,
    WaitingForMemory,
    Warned,
)
from .experiment import Run, StageState, run
from .policy import Answer, Policy, Recommended
from .program import call, program

__all__ = [
    "Answer",
    "ApprenticeError",
    "Event",
    "Note",
    "Policy",
    "Progress",
    "ProgressEnded",
    "Queued",
    "Recommended",
    "Run",
    "RunEnded",
    "RunStarted",
    "StageEnded",
    "StageStarted",
    "StageState",
    "Unknown",
    "UsageError",
    "Waiting",
    "WaitingForMemory",
    "Warned",
    "call",
    "program",
    "read_artifact",
    "run",
]
