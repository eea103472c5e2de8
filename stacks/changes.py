"""The resource changes that a preview or an update reports, gathered from engine events."""

from dataclasses import dataclass, field
from typing import Any

from pulumi.automation import EngineEvent
from rich.console import Console
from rich.markup import escape

from coppice.stacks.engine import kind_of

_SIGNS = {
    "create": "[green]+[/]",
    "update": "[yellow]~[/]",
    "delete": "[red]-[/]",
    "replace": "[magenta]±[/]",
}


@dataclass
class Changes:
    """The steps that touch something: (operation, type, name, properties that differ)."""

    steps: list[tuple[str, str, str, tuple[str, ...]]] = field(default_factory=list)
    same: int = 0

    def event(self, event: EngineEvent) -> None:
        """Take one engine event."""
        pre = event.resource_pre_event
        if pre is None:
            return
        operation = kind_of(pre.metadata.op)
        if operation == "same":
            self.same += 1
        elif operation in _SIGNS:
            name = pre.metadata.urn.rpartition("::")[2]
            self.steps.append((operation, pre.metadata.type, name, tuple(sorted(pre.metadata.diffs or ()))))

    def to_json(self) -> list[dict[str, Any]]:
        """Return the steps as JSON data."""
        return [
            {"operation": operation, "type": kind, "name": name, "properties": list(properties)}
            for operation, kind, name, properties in self.steps
        ]

    def show(self, console: Console) -> None:
        """Print one line a step, and the count."""
        for operation, kind, name, properties in self.steps:
            differ = f" [dim]({escape(', '.join(properties))})[/]" if properties else ""
            console.print(
                f"  {_SIGNS[operation]} {operation:8}{escape(name)}  [dim]{escape(kind)}[/]{differ}"
            )
        if self.steps:
            console.print(f"{len(self.steps)} change(s), {self.same} unchanged; `coppice up` makes them")
        else:
            console.print(f"no changes, {self.same} resource(s) unchanged")
