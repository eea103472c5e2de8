"""coppice collect: bring branches home."""

from typing import Annotated

import typer

from coppice.stacks.cli.common import GroveArgument, JsonOption, StackOption, print_json
from coppice.stacks.cli.up import show_collected


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def collect(
        grove: GroveArgument = None,
        stack: StackOption = None,
        agent: Annotated[
            list[str] | None, typer.Option("--agent", "-a", help="Only this one; repeatable.")
        ] = None,
        json: JsonOption = False,
    ) -> None:
        """Bring the agents' branches home, as fast-forwards or new numbered refs, never forced."""
        from coppice.stacks.boxes import collect as bring
        from coppice.stacks.boxes import opened

        with opened(grove, stack) as stand:
            names = agent or list(stand.agents)
            items = [bring(stand, stand.agent(name)) for name in names]
        if json:
            print_json([item.to_json() for item in items])
        else:
            show_collected(items)
        if any(item.error for item in items):
            raise typer.Exit(1)
