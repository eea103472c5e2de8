"""coppice diff: what an agent changed."""

import sys
from typing import Annotated

import typer

from coppice.groves.errors import CoppiceError
from coppice.stacks.cli.common import JsonOption, StackOption, out, print_json
from coppice.stacks.cli.logs import AgentArgument, GroveOption


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def diff(
        agent: AgentArgument,
        grove: GroveOption = None,
        stack: StackOption = None,
        stat: Annotated[bool, typer.Option("--stat", help="Only the changed files.")] = False,
        json: JsonOption = False,
    ) -> None:
        """Bring an agent's branch home and show what it changed against its base."""
        from coppice.components import repository
        from coppice.components.runtimes.docker.records import clean
        from coppice.stacks.boxes import collect, opened

        with opened(grove, stack) as stand:
            standing_agent = stand.agent(agent)
            item = collect(stand, standing_agent)
            if item.home is None:
                raise CoppiceError(f"{agent}: {item.error or item.nothing}", exit_code=3)
            lines = repository.diff(stand.repository, standing_agent.state.base, item.home.commit, stat=stat)
            if json:
                print_json({**item.to_json(), "diff": "\n".join(lines)})
                return
            for line in lines:
                _print_line(clean(line))


_STYLES = {"+": "32", "-": "31", "@": "36"}


def _print_line(line: str) -> None:
    # Coloured here, after cleaning: what git colours could not be told from what the agent wrote.
    style = "1" if line.startswith(("diff ", "+++", "---", "index ")) else _STYLES.get(line[:1])
    coloured = f"\x1b[{style}m{line}\x1b[0m" if style and out.is_terminal else line
    sys.stdout.write(coloured + "\n")
