"""The supervisor's parts by themselves."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coppice.harnesses.supervisor.events import LINE_LIMIT, Lines, Sink
from coppice.harnesses.supervisor.launch import Launch
from coppice.harnesses.supervisor.outcome import decide, describe_duration
from coppice.harnesses.supervisor.session import Ending
from coppice.harnesses.supervisor.workspace import Collected

LAUNCH = Launch(
    grove="wood", agent="oak", run="r", argv=("true",), env={}, workdir=Path("/w"), branch="agents/oak",
    base="0" * 40, duration=5400, expect="commit", outcome="exitCode", home="tmpfs",
)  # fmt: skip


def collected(**fields: object) -> Collected:
    return Collected(
        **({"branch": "agents/oak", "base": "0" * 40, "commit": "1" * 40, "commits": 1} | fields)
    )


@given(st.lists(st.binary(max_size=200)))
def test_lines_are_the_same_however_they_arrive(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    lines = Lines()
    texts = [text for chunk in chunks for text in lines.feed(chunk)] + list(lines.close())
    expected = whole.decode("utf-8", "replace").split("\n")
    assert texts == (expected if expected[-1] else expected[:-1])


def test_lines_hold_little_back() -> None:
    lines = Lines()
    pieces = [text for _ in range(100) for text in lines.feed(b"x" * 50000)]
    rest = list(lines.close())
    assert sum(map(len, pieces + rest)) == 5_000_000
    assert max(map(len, pieces + rest)) <= Lines.PIECE


@given(st.text(max_size=100), st.integers(1, 3000))
def test_every_line_of_the_log_is_bounded_ascii_json(text: str, times: int) -> None:
    read, write = os.pipe()
    sink = Sink(write)
    sink.run = "r" * 256
    os.set_blocking(write, False)
    received = b""
    sink.output("stdout", text * times)
    while sink.pending:
        sink.pump()
        received += os.read(read, 1 << 20)
    received += os.read(read, 1 << 20) if not received else b""
    os.close(write)
    os.close(read)
    lines = received.splitlines(keepends=True)
    assert all(len(line) <= LINE_LIMIT and line.isascii() for line in lines)
    assert "".join(json.loads(line)["text"] for line in lines) == text * times


@pytest.mark.parametrize(
    ("ending", "work", "phase", "reason", "code"),
    [
        (Ending("exit", 0), {}, "done", None, 0),
        (
            Ending("exit", 0),
            {"commits": 0},
            "failed",
            "exit 0, but expect: commit and no commit on agents/oak",
            1,
        ),
        (Ending("exit", 0), {"lost": "no bundle"}, "failed", "exit 0, but no bundle", 1),
        (Ending("exit", 7), {}, "failed", "exit 7", 7),
        (Ending("exit", 7), {"lost": "no bundle"}, "failed", "exit 7", 7),
        (Ending("exit", 126), {}, "failed", "exit 126", 1),
        (Ending("exit", 255), {}, "failed", "exit 255", 1),
        (Ending("exit", -9), {}, "failed", "killed by SIGKILL", 1),
        (Ending("exit", -99), {}, "failed", "killed by signal 99", 1),
        (Ending("exit", None), {}, "failed", "the end of the harness was not seen", 1),
        (Ending("start", None, "cannot start x: no"), {}, "failed", "cannot start x: no", 1),
        (Ending("duration", 0), {}, "failed", "ran longer than limits.duration (1h30m)", 124),
        (Ending("stop", 0, "SIGTERM"), {}, "suspended", "stopped by SIGTERM", 143),
        (Ending("stop", None, "SIGTERM"), {"lost": "x"}, "suspended", "stopped by SIGTERM", 143),
    ],
)
def test_outcome(ending: Ending, work: dict, phase: str, reason: str | None, code: int) -> None:
    outcome = decide(LAUNCH, ending, collected(**work))
    assert (outcome.phase, outcome.reason, outcome.code) == (phase, reason, code)


@pytest.mark.parametrize(
    ("seconds", "text"), [(1, "1s"), (90, "1m30s"), (7200, "2h"), (3601, "1h1s"), (86400, "24h")]
)
def test_durations_read_as_in_the_grove_file(seconds: int, text: str) -> None:
    assert describe_duration(seconds) == text
