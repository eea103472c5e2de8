"""The supervisor's course: provisioning, starting, working, bringing the work home, the outcome."""

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

from . import hardening, home
from .events import OUTPUT_CAP, Sink
from .launch import Launch, LaunchError, load
from .outcome import OWN_FAILURE, Outcome, decide
from .process import Children
from .session import Ending, Session, Signals
from .workspace import Collected, Collector

RUN_DIR = Path("/run/coppice")
HOME = Path("/home/agent")
GIT_STEP = 120.0  # seconds for one git command
COLLECT_TOTAL = 300.0  # seconds for all of them
STOP_TOTAL = 70.0  # seconds from the signal to stop until the work has to be home
FLUSH_PATIENCE = 30.0  # seconds without progress until a reader of the log counts as gone


def main(arguments: Sequence[str]) -> int:
    """Run one agent as launch.json says; return the exit code of the box."""
    options = _options(arguments)
    sink = Sink(1, cap=options.output_cap)
    try:
        outcome = _supervise(options, sink)
    except LaunchError as error:
        outcome = Outcome("failed", str(error), OWN_FAILURE)
    except Exception as error:  # noqa: BLE001  # whatever it is, the log has to end with the outcome
        outcome = Outcome("failed", f"the supervisor failed: {_describe(error)}", OWN_FAILURE)
    sink.phase(outcome.phase, outcome.reason, outcome.code)
    sink.flush(FLUSH_PATIENCE)
    return outcome.code


def _supervise(options: argparse.Namespace, sink: Sink) -> Outcome:
    missing = hardening.harden()
    signals = Signals()
    children = Children()
    launch = load(options.run_dir / "launch.json")
    sink.run = launch.run
    sink.phase("provisioning")
    for message in missing:
        sink.warning(message)
    if not launch.workdir.is_dir():
        raise LaunchError(f"workdir: {launch.workdir} is not a directory: the workspace is not mounted")
    home.prepare(options.home, launch)
    env = home.environment(options.home, launch, os.environ)
    failure: Exception | None = None
    try:
        ending = Session(sink, children, signals).run(launch.argv, env, launch.workdir, launch.duration)
    except Exception as error:  # noqa: BLE001  # the work comes home first
        failure = error
        ending = Ending("start", None)
        children.kill_all()
    collected = _collect(launch, children, signals, options.git_timeout)
    for message in collected.warnings:
        sink.warning(message)
    sink.result(collected.result())
    if failure is not None:
        raise failure
    return decide(launch, ending, collected)


def _collect(launch: Launch, children: Children, signals: Signals, step: float) -> Collected:
    end = time.monotonic() + COLLECT_TOTAL
    try:
        return Collector(
            launch,
            children,
            os.environ,
            step=step,
            deadline=lambda: min(end, signals.stopped_at + STOP_TOTAL),
        ).collect()
    except Exception as error:  # noqa: BLE001  # a workspace made to break this must not hide the outcome
        lost = f"the work cannot be brought home: {_describe(error)}"
        return Collected(branch=launch.branch, base=launch.base, lost=lost, warnings=[lost])


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="supervisor", description="Runs one agent in its box.")
    parser.add_argument("--run-dir", type=_path, default=RUN_DIR, help="where launch.json is")
    parser.add_argument("--home", type=_path, default=HOME, help="HOME of the harness")
    parser.add_argument("--output-cap", type=int, default=OUTPUT_CAP, help="bytes of output in the log")
    parser.add_argument("--git-timeout", type=float, default=GIT_STEP, help="seconds for one git command")
    return parser.parse_args(arguments)


def _path(text: str) -> Path:
    return Path(text).absolute()
