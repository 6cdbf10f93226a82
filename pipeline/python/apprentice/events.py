"""What happens in a run: one dataclass for each event of `apprentice run --json`."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

#: How a stage ended.
Status = Literal["hit", "ran", "failed", "interrupted", "submitted", "skipped"]
#: How a run ended.
RunStatus = Literal["running", "ok", "failed", "partial", "submitted", "interrupted"]


@dataclass(frozen=True)
class RunStarted:
    """The run begins."""

    run: str  #: Its id, also the name of its folder in the store.
    experiment: str  #: The experiment's name.
    stages: int  #: How many stages are to be brought up to date.
    jobs: int  #: Stages at work at once, at most.
    threads: int  #: Threads for their numerical work.


@dataclass(frozen=True)
class StageStarted:
    """A stage has to run."""

    stage: str
    key: str
    reason: Mapping[str, Any] | str  #: Why it has no result yet.
    why: str  #: The reason in words.
    resumed: bool  #: Whether units of an earlier, broken-off run are there.


@dataclass(frozen=True)
class Progress:
    """A stage got on."""

    stage: str
    label: str
    done: int
    total: int | None
    unit: str
    message: str


@dataclass(frozen=True)
class ProgressEnded:
    """A piece of work of a stage is done."""

    stage: str
    label: str


@dataclass(frozen=True)
class Note:
    """A fact that a stage tells."""

    stage: str
    name: str
    value: str


@dataclass(frozen=True)
class Waiting:
    """A stage waits for another run that is making the same result."""

    stage: str
    holder: str  #: Who holds the lock.


@dataclass(frozen=True)
class WaitingForMemory:
    """A stage waits until its tables fit beside those of the stages at work."""

    stage: str
    why: str


@dataclass(frozen=True)
class Queued:
    """A stage waits in the queue of a cluster, or for it."""

    stage: str
    why: str


@dataclass(frozen=True)
class Warned:
    """A `warning`: something to know, and not to act on."""

    stage: str
    text: str


@dataclass(frozen=True)
class StageEnded:
    """A stage is up to date, or will not be."""

    stage: str
    status: Status
    seconds: float  #: How long it took here.
    error: str | None  #: With its causes, where it failed.
    help: str | None  #: What to do about it.
    log: str | None  #: The file with everything that the stage said.


@dataclass(frozen=True)
class RunEnded:
    """The run is over."""

    run: str
    status: RunStatus
    hits: int  #: Stages that were served from the store.
    ran: int
    failed: int
    failures: list[str]  #: The stages that failed.
    not_begun: list[str]  #: The stages that did not start.
    pages: list[str]  #: The pages that tell what came of the run.
    seconds: float


@dataclass(frozen=True)
class Unknown:
    """An event of a newer program."""

    event: str
    content: Mapping[str, Any]


Event = (
    RunStarted
    | StageStarted
    | Progress
    | ProgressEnded
    | Note
    | Waiting
    | WaitingForMemory
    | Queued
    | Warned
    | StageEnded
    | RunEnded
    | Unknown
)

_KINDS: dict[str, type[Any]] = {
    "run_started": RunStarted,
    "stage_started": StageStarted,
    "progress": Progress,
    "progress_ended": ProgressEnded,
    "note": Note,
    "waiting": Waiting,
    "waiting_for_memory": WaitingForMemory,
    "queued": Queued,
    "warning": Warned,
    "stage_ended": StageEnded,
    "run_ended": RunEnded,
}


def event_of(content: Mapping[str, Any]) -> Event:
    """The event in a line of JSON; fields that a newer program adds are left out."""
    kind = _KINDS.get(content["event"])
    if kind is None:
        return Unknown(content["event"], content)
    event: Event = kind(**{field.name: content[field.name] for field in fields(kind)})
    return event
