"""Experiments run, tell what happens, fail with what is wrong, and stop when they are told to."""

import signal
from pathlib import Path
from typing import Any

import pyarrow
import pytest

import apprentice
from apprentice.events import event_of

LOG = """
name: small
assets: { toy: { from: [{ generate: toy-log }] } }
stages:
  log: { use: ingest.recbole, with: { asset: toy, title: movie_title } }
"""
WORLD = """
  world:
    use: world.bias
    inputs: { interactions: log.interactions, items: log.items, users: log.users }
    with: { simulator: { horizon: 10, quit_similarity: off } }
"""
TRAINED = """
  policy:
    use: rl.a2c
    sweep: { seed: [0, 1] }
    inputs: { world: world.world }
    with: { n_iterations: 3, episodes_per_update: 8, bc_coef: 0 }
  evaluation:
    use: world.mf
    inputs: { interactions: log.interactions, items: log.items, users: log.users }
    with: { n_factors: 2, n_epochs: 3, simulator: { horizon: 10, quit_similarity: off } }
  score:
    use: evaluate
    inputs: { world: evaluation.world, train: log.interactions, training_world: world.world, policies: { a2c: policy.policy } }
    with: { n_resamples: 100, baselines: { seeds: 1, n_iterations: 2 } }
  report: { use: report, inputs: { metrics: score.metrics, comparisons: score.comparisons } }
"""
ENDLESS = """
  policy:
    use: rl.a2c
    inputs: { world: world.world }
    with: { n_iterations: 1000000, episodes_per_update: 8, bc_coef: 0 }
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("APPRENTICE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def write(*parts: str) -> str:
    Path("x.yaml").write_text("".join(parts))
    return "x.yaml"


def test_a_run_tells_what_happens_and_its_results_are_read() -> None:
    run = apprentice.run(write(LOG, WORLD, TRAINED), threads=1)
    events = list(run)
    assert isinstance(events[0], apprentice.RunStarted) and events[0].stages == len(run.stages) == 7
    ended = events[-1]
    assert isinstance(ended, apprentice.RunEnded) and (ended.status, ended.ran) == ("ok", 7)
    assert any(isinstance(event, apprentice.Progress) and event.stage == "policy@seed=0" for event in events)
    assert not any(isinstance(event, apprentice.Unknown) for event in events)
    assert {state.status for state in run.stages.values()} == {"ran"}

    policy = apprentice.Policy.load(run.path("policy@seed=0.policy"))
    assert len(policy.recommend(user="3", history=["7"], top_k=4)) == 4
    table = run.read("score.metrics")
    assert table.equals(apprentice.read_artifact("artifacts/small/score/metrics.parquet"))
    assert "return_inclusive" in table.column("metric").to_pylist()
    assert run.report()["run"] == run.id

    html = run._repr_html_()
    for part in ("small: ok", "policy@seed=0", "ran", "<th>return_inclusive</th>", "a2c", 'href="artifacts/small/report/page-as-run.html"'):
        assert part in html, html
    again = apprentice.run("x.yaml", "log", set={"stages.policy.with.gamma": 0.9}).wait()
    assert {name: state.status for name, state in again.stages.items()} == {"log": "hit"}
    assert "small: ok" in again._repr_html_(), "a run without metrics has a display"


def test_a_wrong_experiment_is_said_to_be_wrong() -> None:
    with pytest.raises(apprentice.UsageError) as caught:
        apprentice.run(write(LOG.replace("ingest.recbole", "ingest.recbol"))).wait()
    error = caught.value
    assert error.exit_code == 2 and error.diagnostics[0]["line"] == 5, error
    assert "ingest.recbole" in str(error)
    with pytest.raises(apprentice.UsageError, match="nowhere.yaml"):
        apprentice.run("nowhere.yaml").wait()


def test_a_stage_that_fails_says_why_and_what_to_do() -> None:
    text = LOG.replace("title: movie_title", "title: movie_title, expected_rows: { interactions: 1, users: 40, items: 60 }")
    run = apprentice.run(write(text))
    with pytest.raises(apprentice.ApprenticeError) as caught:
        run.wait()
    assert caught.value.exit_code == 1 and "stage `log` failed: " in str(caught.value), str(caught.value)
    assert run.stages["log"].status == "failed" and run.stages["log"].error
    assert "failed" in run._repr_html_()


def test_what_is_told_to_stop_saves_and_ends() -> None:
    with apprentice.run(write(LOG, WORLD, ENDLESS), threads=1) as run:
        for event in run:
            if isinstance(event, apprentice.Progress) and event.stage == "policy":
                break
    assert run.status == "interrupted" and run.stages["policy"].status == "interrupted"


def test_an_interrupt_is_passed_on_once_and_raised_when_the_run_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupts = iter([True])

    def interrupted(content: Any) -> apprentice.Event:
        event = event_of(content)
        if isinstance(event, apprentice.Progress) and event.stage == "policy" and next(interrupts, False):
            signal.raise_signal(signal.SIGINT)
        return event

    monkeypatch.setattr("apprentice.experiment.event_of", interrupted)
    # What a shell starts in the background ignores SIGINT, and so would these tests, for ever.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run = apprentice.run(write(LOG, WORLD, ENDLESS), threads=1)
        with pytest.raises(KeyboardInterrupt):
            run.wait()
    finally:
        signal.signal(signal.SIGINT, before)
    assert run.status == "interrupted" and run.stages["policy"].status == "interrupted"


def test_commands_answer_in_json_or_raise() -> None:
    write(LOG)
    assert apprentice.call("plan", "x.yaml")["stages"]
    with pytest.raises(apprentice.UsageError) as caught:
        apprentice.call("inspect", "log.interactions")
    assert caught.value.help


def test_tables_are_of_the_form_that_was_asked_for() -> None:
    import pandas
    import polars

    run = apprentice.run(write(LOG, WORLD)).wait()
    folder = Path("artifacts/small")
    table = run.read("log.interactions")
    assert isinstance(table, pyarrow.Table) and table.num_rows == 800
    assert isinstance(run.read("log.interactions", to="pandas"), pandas.DataFrame)
    assert isinstance(run.read("log.interactions", to="polars"), polars.DataFrame)
    assert run.read("log.items", to="polars").equals(polars.from_arrow(run.read("log.items")))
    arrow = folder / "copy.arrow"
    with pyarrow.ipc.new_file(arrow, table.schema) as file:
        file.write(table)
    assert apprentice.read_artifact(arrow).equals(table)
    assert apprentice.read_artifact(arrow, to="polars").equals(run.read("log.interactions", to="polars"))
    for wrong, message in [
        (("log.nothing",), "has no output `nothing`\nhelp: it has: interactions, items"),
        (("nowhere.items",), "has no stage `nowhere`\nhelp: it has: log, world"),
        (("items",), "is no output"),
        (("world.world",), "is neither Parquet nor an Arrow file"),
    ]:
        with pytest.raises(apprentice.UsageError) as caught:
            apprentice.read_artifact(folder, *wrong)
        assert message in str(caught.value), str(caught.value)
    with pytest.raises(apprentice.UsageError, match="is a folder"):
        apprentice.read_artifact(folder)
