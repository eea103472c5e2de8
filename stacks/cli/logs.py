"""coppice logs: what an agent printed and what its supervisor said."""

import json as json_module
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from coppice.stacks.cli.common import JsonOption, StackOption, out

if TYPE_CHECKING:
    from coppice.components.runtimes.docker.records import Record

AgentArgument = Annotated[str, typer.Argument(metavar="AGENT", help="The agent's name.")]
GroveOption = Annotated[
    str | None, typer.Option("--grove", "-g", help="A grove file or name; by default the project's only one.")
]


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def logs(
        agent: AgentArgument,
        grove: GroveOption = None,
        stack: StackOption = None,
        follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the box stops.")] = False,
        json: JsonOption = False,
    ) -> None:
        """Print an agent's output and phases; control sequences are taken out."""
        from coppice.components.runtimes.docker import operations
        from coppice.stacks.boxes import opened

        with opened(grove, stack) as stand:
            container = stand.agent(agent).need_container()
            records = operations.follow(container) if follow else operations.history(container)
            for record in records:
                if json:
                    # One object a line: a log may be endless.
                    sys.stdout.write(json_module.dumps(record.data) + "\n")
                    sys.stdout.flush()
                else:
                    _show(record)


def _show(record: "Record") -> None:
    if record.type == "output":
        style = "red" if record.text("stream") == "stderr" else "default"
        out.print(f"[{style}]{escape(record.text('text'))}[/]", soft_wrap=True)
    elif record.type == "phase":
        reason = record.text("reason")
        line = f"{record.time} {record.text('phase')}{f': {reason}' if reason else ''}"
        out.print(f"[dim]── {escape(line)}[/]", soft_wrap=True)
    elif record.type == "warning":
        out.print(
            f"[yellow]── {escape(record.time)} warning: {escape(record.text('message'))}[/]", soft_wrap=True
        )
