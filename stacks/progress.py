"""Show an update as it happens: one line an agent on a terminal, plain lines elsewhere."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from pulumi.automation import EngineEvent
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table

from coppice.components.runtimes.docker.records import clean
from coppice.stacks.engine import kind_of, plain

_VERBS = {
    "create": "creating",
    "update": "changing",
    "delete": "removing",
    "replace": "replacing",
    "create-replacement": "replacing",
    "delete-replaced": "removing the old",
    "read": "reading",
    "refresh": "looking at",
}
_NOUNS = {
    "docker:index/volume:Volume": "volume",
    "docker:index/container:Container": "box",
    "coppice:docker:Image": "image",
    "coppice:docker:Mirror": "mirror",
    "coppice:docker:Workspace": "workspace",
    "coppice:docker:BoxFiles": "launch files",
    "coppice:docker:Power": "power",
}
_SETTLED = {"done": "green", "failed": "red", "suspended": "yellow", "waiting": "cyan"}


@dataclass
class _Row:
    text: str = "queued"
    detail: str = ""
    started: float = field(default_factory=time.monotonic)
    ended: float | None = None

    @property
    def seconds(self) -> float:
        return (self.ended or time.monotonic()) - self.started


class Progress:
    """Rows for the grove itself and for each agent, fed by engine events and by the boxes' records.

    Args:
        grove: the grove's name.
        agents: its agents' names.
        console: where to show it; None shows nothing (for --json).
    """

    def __init__(self, grove: str, agents: Sequence[str], console: Console | None) -> None:
        self._grove = grove
        # Longest first: agent `a-b` must not be taken for agent `a`.
        self._agents = sorted(agents, key=lambda name: (-len(name), name))
        self._console = console
        self._rows = {name: _Row() for name in ["", *sorted(agents)]}
        self._live: Live | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        if self._console is not None and self._console.is_terminal:
            self._live = Live(
                self._table(), console=self._console, refresh_per_second=8, get_renderable=self._table
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        with self._lock:
            for name, row in self._rows.items():
                style = _SETTLED.get(row.text, "")
                mark = "[green]●[/]" if row.ended else Spinner("dots")
                label = escape(name or f"grove {self._grove}")
                shown = f"[{style}]{escape(row.text)}[/]" if style else escape(row.text)
                table.add_row(
                    mark, label, shown, f"[dim]{escape(row.detail)}[/]", f"[dim]{row.seconds:.1f} s[/]"
                )
        return table

    def owner(self, urn: str) -> str:
        """Return the agent that a resource belongs to, "" for what the grove's agents share."""
        name = urn.rpartition("::")[2]
        for agent in self._agents:
            prefix = f"{self._grove}-{agent}"
            if name == prefix or name.startswith(f"{prefix}-"):
                return agent
        return ""

    def set(self, agent: str, text: str, detail: str = "", *, ended: bool = False) -> None:
        """Change a row; on a console that is no terminal, print it when its text changed.

        Args:
            agent: the agent's name, "" for the grove's own row.
            text: what it is at.
            detail: more, shown dimmed.
            ended: whether its clock stops.
        """
        with self._lock:
            row = self._rows.setdefault(agent, _Row())
            changed = row.text != text
            row.text, row.detail = clean(text), clean(detail)
            row.ended = (row.ended or time.monotonic()) if ended else None
            seconds = row.seconds
        if changed and self._console is not None and self._live is None:
            label = agent or f"grove {self._grove}"
            extra = f" ({row.detail})" if row.detail else ""
            self._console.print(f"{label}: {row.text}{extra} [{seconds:.1f} s]", markup=False, soft_wrap=True)

    def event(self, event: EngineEvent) -> None:
        """Take one engine event."""
        pre, failed, said = event.resource_pre_event, event.res_op_failed_event, event.diagnostic_event
        if pre is not None:
            operation = kind_of(pre.metadata.op)
            noun = _NOUNS.get(pre.metadata.type)
            if operation in _VERBS and noun:
                self.set(self.owner(pre.metadata.urn), f"{_VERBS[operation]} {noun}")
        elif failed is not None:
            noun = _NOUNS.get(failed.metadata.type, "resource")
            self.set(self.owner(failed.metadata.urn), "failed", f"at its {noun}", ended=True)
        elif said is not None and said.severity == "info" and said.urn:
            text = plain(said.message).strip()
            if text:
                self.set(self.owner(said.urn), text)
