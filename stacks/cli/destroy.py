"""coppice destroy: bring work home, then remove everything."""

import contextlib
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from coppice.groves.errors import RefusedError
from coppice.stacks.cli.common import GroveArgument, JsonOption, StackOption, err, out, print_json
from coppice.stacks.cli.up import show_collected

if TYPE_CHECKING:
    from coppice.stacks.boxes import Collected
    from coppice.stacks.state import GroveState


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def destroy(
        grove: GroveArgument = None,
        stack: StackOption = None,
        yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
        discard: Annotated[
            bool, typer.Option("--discard-work", help="Remove also what has not come home.")
        ] = False,
        json: JsonOption = False,
    ) -> None:
        """Bring the agents' work home, then remove their boxes, volumes and the stack."""
        from coppice.stacks.boxes import own_state
        from coppice.stacks.changes import Changes
        from coppice.stacks.engine import GroveStack
        from coppice.stacks.project import place

        where = place(grove, stack)
        name = where.stack
        opened = GroveStack(where.root, name, create=False)
        found = own_state(opened, where)
        if not (yes or (sys.stdin.isatty() and not json)):
            raise RefusedError("nobody can be asked whether to remove everything", hint="pass --yes")
        if not yes:
            typer.confirm(f"Remove the stack {name} with all of its boxes and volumes?", abort=True)
        collected = [] if discard or found is None else _bring_home(found)
        changes = Changes()
        with err.status(f"removing {escape(name)}"):
            opened.destroy(changes.event, discard=discard)
        if json:
            branches = [item.to_json() for item in collected]
            print_json({"stack": name, "removed": changes.to_json(), "branches": branches})
            return
        show_collected([item for item in collected if item.home])
        out.print(f"removed {len(changes.steps)} resource(s) and the stack {name}", markup=False)


def _bring_home(found: "GroveState") -> "list[Collected]":
    """Stop what runs, so that its supervisor brings out the work, and collect from every box.

    Raises:
        RefusedError: work of an agent cannot be brought home; nothing was removed.
    """
    from coppice.components.runtimes.docker import daemon
    from coppice.harnesses import layout
    from coppice.stacks.boxes import collect, standing

    with contextlib.closing(daemon.find().client()) as client:
        stand = standing(found, client)
        for agent in stand.agents.values():
            if agent.container is not None and agent.status().running:
                err.print(f"stopping {escape(agent.name)}")
                agent.container.stop(timeout=layout.STOP_TIMEOUT)
        done = [collect(stand, agent) for agent in stand.agents.values()]
    lost = [f"{item.agent}: {item.error}" for item in done if item.error]
    if lost:
        raise RefusedError(
            "nothing was removed, because work would be lost:\n" + "\n".join(lost),
            hint="remove it all the same with --discard-work",
        )
    return done
