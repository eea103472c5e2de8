"""From how the harness ended and what came home to the outcome of the run."""

import signal
from dataclasses import dataclass

from .launch import Launch
from .session import Ending
from .workspace import Collected

DONE = 0
FAILED = 1
OWN_FAILURE = 70
DURATION = 124
SUSPENDED = 143
HIGHEST_OWN_CODE = 125  # above: taken by shells and container runtimes


@dataclass(frozen=True)
class Outcome:
    """The terminal phase, why, and the supervisor's own exit code."""

    phase: str
    reason: str | None
    code: int


def decide(launch: Launch, ending: Ending, collected: Collected) -> Outcome:
    """Decide the outcome. Exit 0 alone is not success: what was expected has to be there, and home."""
    if ending.cause == "stop":
        return Outcome("suspended", f"stopped by {ending.reason}", SUSPENDED)
    if ending.cause == "duration":
        limit = describe_duration(launch.duration)
        return Outcome("failed", f"ran longer than limits.duration ({limit})", DURATION)
    if ending.code == 0:
        return _judge_work(launch, collected)
    if ending.code is None:
        return Outcome("failed", ending.reason or "the end of the harness was not seen", FAILED)
    if ending.code < 0:
        return Outcome("failed", f"killed by {_signal_name(-ending.code)}", FAILED)
    own = ending.code <= HIGHEST_OWN_CODE
    return Outcome("failed", f"exit {ending.code}", ending.code if own else FAILED)


def _judge_work(launch: Launch, collected: Collected) -> Outcome:
    if collected.lost:
        return Outcome("failed", f"exit 0, but {collected.lost}", FAILED)
    if launch.expect == "commit" and not collected.commits:
        reason = f"exit 0, but expect: commit and no commit on {launch.branch}"
        return Outcome("failed", reason, FAILED)
    return Outcome("done", None, DONE)


def describe_duration(seconds: int) -> str:
    """A duration as the grove file writes it: 7200 is "2h", 90 is "1m30s"."""
    hours, rest = divmod(seconds, 3600)
    minutes, left = divmod(rest, 60)
    parts = ((hours, "h"), (minutes, "m"), (left, "s"))
    return "".join(f"{count}{unit}" for count, unit in parts if count) or "0s"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
