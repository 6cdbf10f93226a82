"""`apprentice run` as a process of its own, whose events are read here."""

import json
import os
import signal
import subprocess
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from . import page
from .artifacts import artifact_path, read_artifact
from .errors import ApprenticeError, error_of
from .events import Event, Progress, RunEnded, RunStarted, StageEnded, StageStarted, event_of
from .program import call, program

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

#: What a run is known to be doing.
RunState = Literal["running", "ok", "failed", "partial", "submitted", "interrupted"]


@dataclass
class StageState:
    """What is known of a stage of a run."""

    status: str = "running"  #: `running`, or how it ended.
    seconds: float | None = None  #: How long it took, once it has ended.
    doing: str = ""  #: What it is at, while it runs.
    error: str | None = None


class Run:
    """A run of an experiment. Iterating over it gives its events as they come, each once, and ends with it.

    Where the run fails, its last event is followed by an `ApprenticeError` with the program's error and help. A `KeyboardInterrupt` while
    events are awaited lets the program finish its unit at work (a second one does not) and is then raised again; the next run resumes.
    `with run:` does the same for whatever leaves the block.
    """

    def __init__(self, arguments: list[str], artifacts: Path) -> None:
        #: The folder of results.
        self.artifacts = artifacts
        #: Its id; `None` until it has begun.
        self.id: str | None = None
        #: The experiment's name; `None` until it has begun.
        self.experiment: str | None = None
        #: How the run stands.
        self.status: RunState = "running"
        #: Its stages in the order in which they began.
        self.stages: dict[str, StageState] = {}
        #: The pages that tell what came of it.
        self.pages: list[Path] = []
        self._fault: dict[str, Any] | None = None
        self._report: Mapping[str, Any] | None = None
        # What the program tells people; a file, so that it never waits for a reader.
        self._talk = tempfile.TemporaryFile()
        # In a group of its own: the program is interrupted by us, once, and not by the terminal, too.
        self._child = subprocess.Popen(
            [program(), "run", *arguments, "--json", f"--artifacts={artifacts}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._talk,
            encoding="utf-8",
            start_new_session=True,
        )
        # Whoever forgets the run, or ends, leaves no program behind.
        self._forgotten = weakref.finalize(self, _terminate, self._child)

    def __iter__(self) -> Iterator[Event]:
        while (event := self._next()) is not None:
            yield event
        self._end()

    def wait(self) -> "Run":
        """Reads all events to the end of the run."""
        for _ in self:
            pass
        return self

    def stop(self) -> None:
        """Lets the program finish its unit at work and end; does nothing where it has ended."""
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGINT)

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        """Stops the run where it is still at work, and waits for it."""
        self.stop()
        self._drain()

    def path(self, output: str) -> Path:
        """The file of an output: `path("policy@seed=0.policy")`."""
        return artifact_path(self._folder(), output)

    @overload
    def read(self, output: str, *, to: Literal["arrow"] = "arrow") -> "pyarrow.Table": ...
    @overload
    def read(self, output: str, *, to: Literal["pandas"]) -> "pandas.DataFrame": ...
    @overload
    def read(self, output: str, *, to: Literal["polars"]) -> "polars.DataFrame": ...
    def read(self, output: str, *, to: Any = "arrow") -> Any:
        """An output as a table, see `read_artifact`: `read("score.metrics", to="pandas")`."""
        return read_artifact(self._folder(), output, to=to)

    def report(self) -> Mapping[str, Any]:
        """What `apprentice report RUN --json` tells of this run: its stages, and tables of metrics where it made some."""
        if self._report is not None:
            return self._report
        if self.id is None:
            raise ApprenticeError("the run has not begun", "`wait()` for it")
        found = call("report", self.id, f"--artifacts={self.artifacts}")
        told: Mapping[str, Any] = found["runs"][0]
        if self.status != "running":
            self._report = told
        return told

    def __repr__(self) -> str:
        return f"<Run {self.id} of {self.experiment}: {self.status}>"

    def _repr_html_(self) -> str:
        """For notebooks: the stages, the metrics, and where the pages are."""
        tables: list[Mapping[str, Any]] = []
        if self.status != "running" and self.id is not None:
            try:
                tables = self.report()["tables"]
            except ApprenticeError:
                tables = []  # the run made no metrics
        rows = [(name, state.status, state.seconds, state.error or state.doing) for name, state in self.stages.items()]
        return page.of_run(f"{self.experiment or 'experiment'}: {self.status}", rows, tables, self.pages)

    def _folder(self) -> Path:
        if self.experiment is None:
            raise ApprenticeError("the run has not begun", "`wait()` for it")
        return self.artifacts / self.experiment

    def _next(self) -> Event | None:
        out = self._child.stdout
        if out is None or out.closed:  # it has ended, and was read to its end
            return None
        try:
            while line := out.readline():
                content = json.loads(line)
                if content["event"] != "error":
                    event = event_of(content)
                    self._learn(event)
                    return event
                self._fault = content
        except KeyboardInterrupt:
            self.stop()
            self._drain()
            raise
        return None

    def _drain(self) -> None:
        """Reads on to the end of a run that was told to stop; another interrupt tells it so again, and then it stops at once."""
        try:
            for _ in self:
                pass
        except ApprenticeError:
            pass  # that it was interrupted

    def _learn(self, event: Event) -> None:
        match event:
            case RunStarted():
                self.id, self.experiment = event.run, event.experiment
            case StageStarted():
                self.stages[event.stage] = StageState(doing=event.why)
            case Progress():
                of = "" if event.total is None else f" of {event.total}"
                said = f"{event.label} {event.done}{of} {event.unit} {event.message}".split()
                self.stages.setdefault(event.stage, StageState()).doing = " ".join(said)
            case StageEnded():
                self.stages[event.stage] = StageState(event.status, event.seconds, error=event.error)
            case RunEnded():
                self.status, self.pages = event.status, [Path(one) for one in event.pages]
            case _:
                pass

    def _end(self) -> None:
        code = self._child.wait()
        self._forgotten.detach()
        if self._child.stdout is not None:
            self._child.stdout.close()
        if code == 0:
            return
        if self.status == "running":
            self.status = "failed"
        raise self._error(code)

    def _error(self, code: int) -> ApprenticeError:
        if self._fault is not None:
            return error_of(code, self._fault["error"], self._fault["diagnostics"])
        if self.status == "interrupted":
            return ApprenticeError("the run was interrupted", "run it again: it resumes where it stopped", code)
        failed = {name: state for name, state in self.stages.items() if state.error is not None}
        texts = [f"stage `{name}` failed: {state.error}" for name, state in failed.items()]
        if not texts:
            self._talk.seek(0)
            texts = [self._talk.read().decode("utf-8", "replace").strip() or f"the program ended with code {code}"]
        return error_of(code, "\n".join(texts), [])


def run(
    config: str | os.PathLike[str],
    *targets: str,
    set: Mapping[str, object] | None = None,
    artifacts: str | os.PathLike[str] | None = None,
    data: Iterable[str | os.PathLike[str]] = (),
    force: Iterable[str] = (),
    keep_going: bool = False,
    jobs: int | None = None,
    threads: int | None = None,
    offline: bool = False,
    options: Iterable[str] = (),
) -> Run:
    """Starts to bring an experiment up to date: all of its stages, or `targets` and what they need. Wait for it, or read its events.

    `set` overrides values of the experiment (`{"stages.policy.with.gamma": 0.95}`). `options` are any others of `apprentice run`.
    """
    folder = Path(artifacts or os.environ.get("APPRENTICE_ARTIFACTS") or "artifacts")
    arguments = [os.fspath(config), *targets]
    for name, value in (set or {}).items():
        # JSON is YAML; a text stands as it is, as in a shell.
        arguments.append(f"--set={name}={value if isinstance(value, str) else json.dumps(value)}")
    arguments += [f"--data={os.fspath(one)}" for one in data]
    arguments += [f"--force={stage}" for stage in force]
    arguments += [f"--jobs={jobs}"] if jobs is not None else []
    arguments += [f"--threads={threads}"] if threads is not None else []
    arguments += ["--keep-going"] if keep_going else []
    arguments += ["--offline"] if offline else []
    return Run([*arguments, *options], folder)


def _terminate(child: "subprocess.Popen[str]") -> None:
    if child.poll() is None:
        child.terminate()
