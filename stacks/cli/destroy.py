"""coppice destroy: bring work home, then remove everything."""

import contextlib
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from coppice.groves.errors import CoppiceError, RefusedError
from coppice.stacks.cli.common import GroveArgument, JsonOption, StackOption, err, out, print_json
from coppice.stacks.cli.up import show_collected

if TYPE_CHECKING:
    from coppice.stacks.boxes import Collected
    from coppice.stacks.engine import GroveStack


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
        from coppice.stacks.changes import Changes
        from coppice.stacks.engine import GroveStack
        from coppice.stacks.project import target

        wanted = target(grove, stack)
        opened = GroveStack(wanted.root, wanted.stack, create=False)
        if not yes and not json and out.is_terminal:
            typer.confirm(f"Remove the stack {wanted.stack} with all of its boxes and volumes?", abort=True)
        collected = [] if discard else _bring_home(opened)
        changes = Changes()
        with err.status(f"removing {escape(wanted.stack)}"):
            opened.destroy(changes.event)
        if json:
            branches = [item.to_json() for item in collected]
            print_json({"stack": wanted.stack, "removed": changes.to_json(), "branches": branches})
            return
        show_collected([item for item in collected if item.home])
        out.print(f"removed {len(changes.steps)} resource(s) and the stack {wanted.stack}", markup=False)


def _bring_home(opened: "GroveStack") -> "list[Collected]":
    """Stop what runs, so that its supervisor brings out the work, and collect from every box.

    Raises:
        RefusedError: work of an agent cannot be brought home; nothing was removed.
    """
    from coppice.components.runtimes.docker import daemon
    from coppice.harnesses import layout
    from coppice.stacks.boxes import collect, standing

    outputs = opened.outputs()
    if "agents" not in outputs:
        return []
    done, lost = [], []
    with contextlib.closing(daemon.find().client()) as client:
        stand = standing(outputs, client)
        for agent in stand.agents.values():
            if agent.container is not None and agent.status().running:
                err.print(f"stopping {escape(agent.agent)}")
                agent.container.stop(timeout=layout.STOP_TIMEOUT)
            try:
                item = collect(stand, agent)
            except CoppiceError as error:
                lost.append(f"{agent.agent}: {error}")
                continue
            if item.home is None and not item.certain:
                lost.append(f"{agent.agent}: {item.nothing}")
            done.append(item)
    if lost:
        raise RefusedError(
            "nothing was removed, because work would be lost:\n" + "\n".join(lost),
            hint="look into the box with `coppice shell AGENT`, or remove it all with --discard-work",
        )
    return done
