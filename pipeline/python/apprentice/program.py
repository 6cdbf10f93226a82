"""The program beside this package, and its commands as functions of JSON."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from .errors import ApprenticeError, error_of


def program() -> Path:
    """The `apprentice` program: the one that `APPRENTICE_PROGRAM` names, else that of this installation, else that of the PATH."""
    named = os.environ.get("APPRENTICE_PROGRAM")
    if named:
        return Path(named)
    user = f"{os.name}_user"
    schemes = [sysconfig.get_path("scripts")]
    if user in sysconfig.get_scheme_names():
        schemes.append(sysconfig.get_path("scripts", scheme=user))
    for folder in [*schemes, str(Path(sys.executable).parent)]:
        found = shutil.which("apprentice", path=folder)
        if found:
            return Path(found)
    found = shutil.which("apprentice")
    if found:
        return Path(found)
    raise ApprenticeError(
        "there is no program `apprentice` beside this Python",
        "install the package with pip, or name the program in APPRENTICE_PROGRAM",
    )


def call(*arguments: str | os.PathLike[str]) -> dict[str, Any]:
    """What `apprentice ARGUMENTS --json` answers: `call("plan", "x.yaml")`, `call("inspect", "score.metrics")`, `call("runs")`.

    Raises `ApprenticeError` with the program's error and help where it fails. `run` streams; see `apprentice.run`.
    """
    words = [program(), *arguments, "--json"]
    ended = subprocess.run(words, capture_output=True, encoding="utf-8", stdin=subprocess.DEVNULL)
    try:
        said: dict[str, Any] = json.loads(ended.stdout)
    except json.JSONDecodeError:
        said = {}
    if said.get("event") == "error":
        raise error_of(ended.returncode, said["error"], said["diagnostics"])
    # `plan --check` and its like tell by their code what they found.
    if ended.returncode not in (0, 3) or not said:
        raise ApprenticeError(ended.stderr.strip() or "the program said nothing", None, ended.returncode)
    return said
