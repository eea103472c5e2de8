"""coppice preview: what each agent would be able to reach, and what `up` would change."""

import contextlib

import typer
from rich.markup import escape

from coppice.stacks.cli.common import (
    GroveArgument,
    JsonOption,
    StackOption,
    accesses,
    err,
    out,
    print_json,
    show_access,
)


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def preview(grove: GroveArgument = None, stack: StackOption = None, json: JsonOption = False) -> None:
        """Show what each agent would be able to reach, and what `up` would change; start nothing."""
        from coppice.components.runtimes.docker import daemon
        from coppice.stacks.changes import Changes
        from coppice.stacks.engine import GroveStack
        from coppice.stacks.project import target
        from coppice.stacks.updating import bases, begin

        wanted = target(grove, stack)
        items = accesses(wanted.plan)
        if not json:
            show_access(wanted.plan, items, out)
        changes = Changes()
        opened = GroveStack(wanted.root, wanted.stack, create=True)
        with contextlib.closing(daemon.find().client()) as client:
            before = begin(opened, wanted, client)
        notes = bases(before.stand, wanted) if before.stand else []
        with err.status("asking the engine what would change"):
            summary = opened.preview(changes.event, refresh=before.lost)
        if json:
            print_json(
                {
                    "stack": wanted.stack,
                    "access": [item.to_json() for item in items],
                    "changes": summary,
                    "steps": changes.to_json(),
                    "notes": notes,
                }
            )
            return
        out.print()
        changes.show(out)
        for note in notes:
            out.print(f"  [yellow]note:[/] {escape(note)}", soft_wrap=True)
