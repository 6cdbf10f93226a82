"""What a notebook shows of a run."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any


#: The measures that are shown, where they were measured; the page has them all.
_SHOWN = ("return_inclusive", "length", "distinct_items", "repeat_rate")


def of_run(
    title: str,
    stages: Iterable[tuple[str, str, float | None, str]],
    tables: Iterable[Mapping[str, Any]],
    pages: Iterable[Path],
) -> str:
    """HTML of a run's stages (name, status, seconds, remark), the tables of its report, and links to its pages."""
    rows = [[name, status, "" if seconds is None else f"{seconds:.1f} s", remark] for name, status, seconds, remark in stages]
    parts = [f"<p><b>{escape(title)}</b></p>", _table(["stage", "status", "time", ""], rows)]
    for table in tables:
        parts.append(f"<p>{escape(table['stage'])}</p>" + _metrics(table["rows"]))
    for page in pages:
        parts.append(f'<p><a href="{escape(str(page), quote=True)}" target="_blank">{escape(str(page))}</a></p>')
    return "".join(parts)


def _metrics(rows: Sequence[Mapping[str, Any]]) -> str:
    """One row a policy and one column a metric: the mean, and its 95 % interval."""
    measured = dict.fromkeys(row["metric"] for row in rows)
    metrics = [metric for metric in _SHOWN if metric in measured] or list(measured)
    cells: dict[str, dict[str, str]] = {}
    for row in rows:
        cells.setdefault(row["policy"], {})[row["metric"]] = _estimate(row["mean"], row["low"], row["high"])
    body = [[policy, *(found.get(metric, "") for metric in metrics)] for policy, found in cells.items()]
    return _table(["policy", *metrics], body)


def _estimate(mean: float | None, low: float | None, high: float | None) -> str:
    if mean is None:
        return ""
    if low is None or high is None:
        return f"{mean:.4g}"
    return f"{mean:.4g} [{low:.4g}, {high:.4g}]"


def _table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    cells = "".join(f"<th>{escape(text)}</th>" for text in head)
    rows = "".join("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in body)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{rows}</tbody></table>"
