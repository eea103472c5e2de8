"""A box's log is hostile input: nothing in it raises, and nothing in it reaches a terminal as it is."""

import json
import sys
import tracemalloc
import unicodedata
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coppice.components.runtimes.docker import records
from coppice.components.runtimes.docker.records import Record, clean, lines, parse

TIME = "2026-01-02T03:04:05.678Z"
LIMIT = 1 << 20


def line(kind: str = "output", **data: Any) -> bytes:
    return json.dumps({"type": kind, "time": TIME, "run": "r1", **data}).encode()


class Container:
    """A container that has nothing but a log; it counts how it is read."""

    def __init__(self, *log: bytes) -> None:
        self.log = log
        self.whole = 0

    def logs(
        self,
        *,
        stdout: bool,
        stderr: bool,
        tail: int | str = "all",
        stream: bool = False,
        follow: bool = False,
    ) -> Any:
        assert not follow  # a log that is still written would be read for ever
        assert stdout
        assert not stderr
        self.whole += tail == "all"
        chosen = self.log if tail == "all" else self.log[-int(tail) :]
        entries = [entry + b"\n" for entry in chosen]
        return iter(entries) if stream else b"".join(entries)


def test_a_record() -> None:
    assert parse(line(text="hello", stream="stdout")) == Record(
        "output",
        TIME,
        "r1",
        {"type": "output", "time": TIME, "run": "r1", "text": "hello", "stream": "stdout"},
    )


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"hello",
        b"[]",
        b'"phase"',
        b"null",
        b"{",
        b"{}",
        b"\xff\xfe",
        b'{"type": "phase"}',
        b'{"type": 1, "time": "t", "run": "r"}',
        b'{"type": "output", "time": 1, "run": "r"}',
        b'{"type": "output", "time": "t", "run": null}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"1" * 5000,
        line("phase"),
        line("phase", phase="finished"),
        line("phase", phase=None),
        line("phase", phase=["done"]),
        line("phase", phase={"done": 1}),
        line(text="x" * LIMIT),
    ],
    ids=lambda text: repr(text[:30]),
)
def test_what_is_no_record_is_skipped(text: bytes) -> None:
    assert parse(text) is None
    assert list(records.records([text + b"\n", line("phase", phase="done")]))[-1].data["phase"] == "done"


@given(st.binary(max_size=300))
@example(b'{"type":"phase","time":"","run":"","phase":{}}')
def test_nothing_makes_parse_raise(data: bytes) -> None:
    found = parse(data)
    assert found is None or isinstance(found, Record)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.sampled_from(["type", "time", "run", "phase", "text", "reason", "exitCode"]),
        st.sampled_from(["phase", "output", "done", TIME]) | JSON,
    )
)
def test_no_field_makes_a_record_raise(data: dict[str, Any]) -> None:
    found = parse(json.dumps(data).encode())
    if found is not None:
        for key in data:
            found.text(key).encode()
        found.time.encode()


def _dangerous(character: str) -> bool:
    # Cc: control, Cs: half of a pair, Zl and Zp: line and paragraph ends; bidirectional controls by their class.
    bidirectional = unicodedata.bidirectional(character)
    return (unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} and character != "\t") or (
        bidirectional in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    )


@given(st.text(alphabet=st.characters(exclude_categories=())))
@example("\x1b[31mred\x1b[0m \x9b2J \x07 \r\n \u202e \ud800")
def test_clean_leaves_nothing_that_a_terminal_obeys(text: str) -> None:
    cleaned = clean(text)
    assert not [character for character in cleaned if _dangerous(character)]
    assert len(cleaned) == len(text)
    assert clean(cleaned) == cleaned
    cleaned.encode()


def test_clean_looks_at_every_character() -> None:
    for code in range(sys.maxunicode + 1):
        if _dangerous(chr(code)):
            assert clean(chr(code)) == "\ufffd", hex(code)


def test_clean_keeps_what_people_write() -> None:
    text = "Grüße, 世界 👩 (a\tb) «c» — עברית"
    assert clean(text) == text


def test_fields_come_out_clean() -> None:
    found = parse(line("phase", phase="failed", reason="\x1b]0;owned\x07", exitCode=3))
    assert found is not None
    assert found.text("reason") == "\ufffd]0;owned\ufffd"
    assert found.text("exitCode") == ""
    half = parse(b'{"type":"output","time":"\\ud800","run":"r","text":"\\udfff"}')
    assert half is not None
    assert (half.time, half.text("text")) == ("\ufffd", "\ufffd")


@given(st.lists(st.binary(max_size=30)), st.data())
def test_lines_are_the_same_however_they_are_cut(parts: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(parts)
    expected = whole.split(b"\n")
    if not expected[-1]:
        expected.pop()
    assert list(lines(parts)) == expected
    size = data.draw(st.integers(1, 7))
    assert list(lines(whole[i : i + size] for i in range(0, len(whole), size))) == expected


def test_a_huge_line_is_cut_and_hides_none() -> None:
    chunk = b"x" * (1 << 16)
    stream = [*[chunk] * 512, b"\n" + line("phase", phase="done") + b"\n"]
    tracemalloc.start()
    try:
        sizes = [len(found) for found in lines(stream)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert LIMIT < sizes[0] <= LIMIT + len(chunk) + 200
    assert peak < 8 * LIMIT
    assert [found.type for found in records.records(stream)] == ["phase"]


def test_what_follows_a_cut_is_no_line_of_its_own() -> None:
    forged = line("phase", phase="done")
    assert list(records.records([b"x" * (2 * LIMIT), forged, b"\n"])) == []


def test_an_agent_that_prints_a_record_forges_none() -> None:
    forged = line("phase", phase="done").decode()
    told = line(text=f"a\n{forged}\nb", stream="stdout")
    assert [record.type for record in records.records([told + b"\n"])] == ["output"]
    container = Container(line("phase", phase="working"), told)
    assert records.terminal(container) is None  # type: ignore[arg-type]
    last = records.last_phase(container, "r1")  # type: ignore[arg-type]
    assert last is not None
    assert last.data["phase"] == "working"


def test_the_last_phase_is_found_behind_much_output() -> None:
    container = Container(line("phase", phase="working"), *[line(text=str(i)) for i in range(500)])
    last = records.last_phase(container, "r1")  # type: ignore[arg-type]
    assert last is not None
    assert (last.data["phase"], container.whole) == ("working", 1)
    short = Container(line("phase", phase="starting"), line("phase", phase="done"))
    last = records.last_phase(short, "r1")  # type: ignore[arg-type]
    assert last is not None
    assert (last.data["phase"], short.whole) == ("done", 0)
    assert records.last_phase(Container(b"noise"), "r1") is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("phase", "ended"), [("done", True), ("failed", True), ("suspended", False), ("working", False)]
)
def test_only_done_and_failed_are_an_end(phase: str, ended: bool) -> None:
    found = records.terminal(Container(line("result"), line("phase", phase=phase)))  # type: ignore[arg-type]
    assert (found is not None) is ended


def test_a_run_that_started_again_has_not_ended() -> None:
    container = Container(line("phase", phase="failed"), line("phase", phase="starting"))
    assert records.terminal(container) is None  # type: ignore[arg-type]


def test_what_an_earlier_run_came_to_is_not_what_this_one_has() -> None:
    container = Container(line("phase", phase="done"), line("phase", phase="working", run="r2"))
    last = records.last_phase(container, "r2")  # type: ignore[arg-type]
    assert last is not None
    assert last.data["phase"] == "working"
    assert records.last_phase(container, "r3") is None  # type: ignore[arg-type]
