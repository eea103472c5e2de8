"""Output made to flood, to forge, or to break what reads it."""

import json
import time
from pathlib import Path

import pytest

from tests.supervised import Box

MIB = 1024 * 1024


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def test_a_flood_is_cut_and_counted(box: Box) -> None:
    run = box.run("seq 100000; echo beyond >&2", "--output-cap", "50000")
    assert run.code == 0
    assert len(run.stdout) < 60000
    relayed = run.output()
    assert relayed == [str(n + 1) for n in range(len(relayed))]
    dropped = [str(n + 1) for n in range(len(relayed), 100000)] + ["beyond"]
    assert run.warnings == [
        "more than 50000 bytes of output: the rest is dropped",
        f"dropped {len(dropped)} lines of output ({sum(map(len, dropped)) + len(dropped)} characters)",
    ]


def test_empty_lines_count_towards_the_cap(box: Box) -> None:
    run = box.run("yes '' | head -n 100000", "--output-cap", "50000")
    assert len(run.stdout) < 60000


def test_a_long_line_comes_in_pieces(box: Box) -> None:
    run = box.run(f"head -c {MIB} /dev/zero | tr '\\0' x; echo; echo after")
    pieces = run.output()
    assert len(pieces) > 16
    assert "".join(pieces[:-1]) == "x" * MIB
    assert pieces[-1] == "after"


@pytest.mark.parametrize("byte", ["\\001", "\\377", "\\\\", '"', "\\303\\251"])
def test_a_long_line_that_grows_when_escaped(box: Box, byte: str) -> None:
    # Run's own checks hold the bound on every line of the log.
    run = box.run(f"unit=$(printf '{byte}'); for n in $(seq 100000); do printf %s \"$unit\"; done")
    expected = {"\\001": "\1", "\\377": "\ufffd", "\\\\": "\\", '"': '"', "\\303\\251": "é"}[byte]
    assert "".join(run.output()) == expected * 100000


def test_binary_output(box: Box) -> None:
    run = box.run("head -c 3000000 /dev/urandom; head -c 100000 /dev/urandom >&2")
    assert run.code == 0
    assert sum(len(text) for text in run.output()) > MIB


def test_terminal_escapes_and_line_separators_stay_inside_json(box: Box) -> None:
    run = box.run(r"printf '\033]0;title\007 \302\205 \342\200\250 \r\b x\n'")
    assert run.output() == ["\x1b]0;title\x07 \x85 \u2028 \r\b x"]
    assert all(0x20 <= byte < 0x7F for byte in run.stdout.replace(b"\n", b""))


def test_output_that_looks_like_an_event_is_output(box: Box) -> None:
    forged = json.dumps({"type": "phase", "phase": "done", "exitCode": 0})
    run = box.run(f"printf '%s\\n' '{forged}' '}}' ; exit 5")
    assert run.output() == [forged, "}"]
    assert run.code == 5


def test_a_last_line_without_newline(box: Box) -> None:
    run = box.run("printf a; printf b >&2")
    assert (run.output("stdout"), run.output("stderr")) == (["a"], ["b"])


def test_a_slow_reader_gets_every_line_and_holds_the_harness_back(box: Box) -> None:
    done = box.folder / "done"
    process = box.start(f"seq 200000; touch {done}")
    time.sleep(2)
    assert not done.exists(), "with nobody reading, the harness has to wait"
    run = box.finish(process)
    assert run.output() == [str(n + 1) for n in range(200000)]
    assert run.code == 0


def test_a_blocked_log_does_not_hold_the_time_limit(box: Box) -> None:
    process = box.start(f"trap 'touch {box.folder}/asked; exit' TERM; seq 300000; sleep 60", duration=2)
    time.sleep(6)
    assert process.poll() is None
    # The harness is blocked in its own write or was asked already; either way it is over.
    run = box.finish(process, timeout=20)
    assert run.code == 124


def test_a_log_whose_reader_is_gone_does_not_stop_the_work(box: Box) -> None:
    process = box.start(
        "seq 1000; sleep 0.5; seq 1000; echo x > new; git add new; git commit -qm new", expect="commit"
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.wait(timeout=20) == 0
    assert process.stderr.read() == b""
    process.stderr.close()
    assert box.bundle.exists()
