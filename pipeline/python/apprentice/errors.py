"""What went wrong, and what to do about it."""

from collections.abc import Mapping, Sequence
from typing import Any


class ApprenticeError(Exception):
    """An error of the program, or of this package in its form: the message, and the help where somebody knows one."""

    def __init__(
        self, message: str, help: str | None = None, exit_code: int = 1, diagnostics: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        super().__init__(message, help, exit_code, diagnostics)
        #: What is wrong.
        self.message = message
        #: What to do next.
        self.help = help
        #: The exit code of the program, as `apprentice --help` lists them; below 0 where a signal ended it.
        self.exit_code = exit_code
        #: Each fault of an experiment: `message`, `help`, and `file`, `line`, `column` where it has a place.
        self.diagnostics = diagnostics

    def __str__(self) -> str:
        # Faults of an experiment are shown with their helps at their places.
        if self.help is None or " ".join(self.help.split()) in " ".join(self.message.split()):
            return self.message
        return f"{self.message}\nhelp: {self.help}"


class UsageError(ApprenticeError, ValueError):
    """The experiment, the question or the command is wrong, or something that it needs is missing (code 2)."""

    def __init__(self, message: str, help: str | None = None, diagnostics: Sequence[Mapping[str, Any]] = ()) -> None:
        ApprenticeError.__init__(self, message, help, 2, diagnostics)


def error_of(exit_code: int, text: str, diagnostics: Sequence[Mapping[str, Any]]) -> ApprenticeError:
    """The error that the program ended with, from its text with the helps behind it."""
    message, _, helps = text.partition("\nhelp: ")
    told = dict.fromkeys(one["help"] for one in diagnostics if one.get("help"))
    help = helps.replace("\nhelp: ", "\n") or "\n".join(told) or None
    if exit_code == 2:
        return UsageError(message, help, diagnostics)
    return ApprenticeError(message, help, exit_code, diagnostics)
