"""Read a box's log: JSON lines that its supervisor writes, with what the agent printed inside them.

Everything in a log is hostile input: a line that is not a record of a known kind is skipped, and text is
never printed as it is (`clean`).
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from docker.models.containers import Container

TERMINAL = frozenset({"done", "failed"})
PHASES = frozenset({"provisioning", "starting", "working", "waiting", "suspended"}) | TERMINAL
_MAX_LINE = 1 << 20  # bytes; the supervisor writes less than 64 KiB a line
# C0 but tab, DEL, C1, and what turns text around or hides it: a terminal obeys the first, a reader the second.
# Half of a surrogate pair, which JSON may hold, cannot be written to a terminal at all.
_CONTROL = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff"
    "\U000e0000-\U000e007f]"
)


def clean(text: str) -> str:
    """Return text that is safe to print on a terminal: control and direction characters become U+FFFD."""
    return _CONTROL.sub("\ufffd", text)


@dataclass(frozen=True)
class Record:
    """One line of a box's log: its type (phase, output, result, warning), time, run key and the rest."""

    type: str
    time: str
    run: str
    data: dict[str, Any]

    def text(self, key: str) -> str:
        """Return a field as clean text, "" when it is missing."""
        value = self.data.get(key)
        return clean(value) if isinstance(value, str) else ""


def parse(line: bytes) -> Record | None:
    """Return the record of a line, or None when it is none."""
    if len(line) > _MAX_LINE:
        return None
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    kind, time, run = data.get("type"), data.get("time"), data.get("run")
    if not isinstance(kind, str) or not isinstance(time, str) or not isinstance(run, str):
        return None
    phase = data.get("phase")
    if kind == "phase" and not (isinstance(phase, str) and phase in PHASES):
        return None
    return Record(kind, clean(time), run, data)


def lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Split a log stream into lines; a line past the limit is cut, never kept whole in memory."""
    pending = b""
    for chunk in chunks:
        pending += chunk
        *whole, pending = pending.split(b"\n")
        yield from whole
        if len(pending) > _MAX_LINE:
            pending = pending[: _MAX_LINE + 1]
    if pending:
        yield pending


def records(chunks: Iterable[bytes]) -> Iterator[Record]:
    """Return the records of a log stream."""
    for line in lines(chunks):
        record = parse(line)
        if record is not None:
            yield record


def last_phase(container: Container, run: str) -> Record | None:
    """Return the last phase record of a box's run with key `run`."""
    # Its end is at the log's end: a look at the last lines is enough for most.
    for tail in (200, "all"):
        last = None
        stream = container.logs(stdout=True, stderr=False, stream=True, follow=False, tail=tail)
        for record in records(stream):
            if record.type == "phase" and record.run == run:
                last = record
        if last is not None:
            return last
    return None


def terminal(container: Container) -> Record | None:
    """Return the record with which the box's last run ended by itself, done or failed; None when it did not."""
    # A terminal record is the last line that a supervisor writes.
    log = container.logs(stdout=True, stderr=False, tail=5)
    found = [record for record in records([log]) if record.type == "phase"]
    return found[-1] if found and found[-1].data["phase"] in TERMINAL else None
