"""Results of stages as tables."""

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from .errors import UsageError

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow


@overload
def read_artifact(
    path: str | os.PathLike[str], output: str | None = None, *, to: Literal["arrow"] = "arrow"
) -> "pyarrow.Table": ...
@overload
def read_artifact(
    path: str | os.PathLike[str], output: str | None = None, *, to: Literal["pandas"]
) -> "pandas.DataFrame": ...
@overload
def read_artifact(
    path: str | os.PathLike[str], output: str | None = None, *, to: Literal["polars"]
) -> "polars.DataFrame": ...
def read_artifact(
    path: str | os.PathLike[str], output: str | None = None, *, to: Literal["arrow", "pandas", "polars"] = "arrow"
) -> Any:
    """A Parquet or Arrow file of a run as a table of pyarrow, pandas or polars, whichever is installed.

    `read_artifact("artifacts/first/score/metrics.parquet")` and `read_artifact("artifacts/first", "score.metrics")` are the same.
    """
    file = artifact_path(path, output) if output is not None else Path(path)
    if file.is_dir():
        raise UsageError(f"`{file}` is a folder", 'name an output too: `read_artifact("artifacts/first", "score.metrics")`')
    with _opened(file) as opened:
        start = opened.read(8)
    is_arrow = start.startswith(b"ARROW1")
    if not is_arrow and not start.startswith(b"PAR1"):
        help = "`apprentice.Policy.load` reads a policy" if file.suffix == ".safetensors" else "`apprentice inspect` tells what it is"
        raise UsageError(f"`{file}` is neither Parquet nor an Arrow file", help)
    if to == "polars":
        import polars

        if is_arrow:  # from memory: a file that the next run restores may change below a map
            return polars.read_ipc(io.BytesIO(file.read_bytes()))
        # `policy@seed=0` in a path is no column, and `[` no pattern.
        return polars.read_parquet(file, glob=False, hive_partitioning=False)
    if to not in ("arrow", "pandas"):
        raise UsageError(f"there is no form {to!r}", "take `arrow`, `pandas` or `polars`")
    if is_arrow:
        import pyarrow.ipc

        with pyarrow.OSFile(os.fspath(file)) as source:
            table = pyarrow.ipc.open_file(source).read_all()
    else:
        import pyarrow.parquet

        # `ParquetFile` and not `read_table`, which would take `policy@seed=0` in the path for a column.
        with pyarrow.parquet.ParquetFile(file) as source:
            table = source.read()
    return table if to == "arrow" else table.to_pandas()


def _opened(file: Path) -> Any:
    try:
        return file.open("rb")
    except FileNotFoundError:
        raise UsageError(f"there is no file `{file}`", "`apprentice run` makes it; `apprentice runs` lists what ran") from None


def artifact_path(folder: str | os.PathLike[str], output: str) -> Path:
    """The file of `stage.port` in the folder of an experiment's results (`artifacts/first`)."""
    stage, dot, port = output.rpartition(".")
    if not dot:
        raise UsageError(f"{output!r} is no output", "an output is a stage and a port, such as `score.metrics`")
    place = Path(folder) / stage
    found = sorted(file for file in place.glob("*") if file.stem == port and file.is_file())
    if len(found) == 1:
        return found[0]
    if not place.is_dir():
        there = sorted(one.name for one in Path(folder).glob("*") if one.is_dir())
        raise UsageError(f"`{folder}` has no stage `{stage}`", f"it has: {', '.join(there)}" if there else "has it run?")
    there = sorted(one.stem for one in place.iterdir())
    raise UsageError(f"stage `{stage}` in `{folder}` has no output `{port}`", f"it has: {', '.join(there)}")
