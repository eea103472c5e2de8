"""coppice shell: a terminal in an agent's box."""

import sys
from typing import Annotated

import typer

from coppice.groves.errors import CoppiceError
from coppice.stacks.cli.common import JsonOption, StackOption, err, print_json
from coppice.stacks.cli.logs import AgentArgument, GroveOption


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def shell(
        agent: AgentArgument,
        command: Annotated[
            list[str] | None, typer.Argument(metavar="[COMMAND]...", help="Run this instead, after --.")
        ] = None,
        grove: GroveOption = None,
        stack: StackOption = None,
        json: JsonOption = False,
    ) -> None:
        """Open a shell in an agent's box, with the box's limits; an ended box gets a twin for as long."""
        from coppice.components.runtimes.docker import records, terminal
        from coppice.stacks.boxes import opened

        if not command and (json or not (sys.stdin.isatty() and sys.stdout.isatty())):
            raise CoppiceError(
                "a shell needs a terminal", hint=f"`coppice shell {agent} -- COMMAND`", exit_code=2
            )
        with opened(grove, stack) as stand:
            container = stand.agent(agent).need_container()
            if not command:
                err.print(f"[dim]in the box of {agent}; `exit` leaves it[/]")
                raise typer.Exit(terminal.interactive(container))
            output: list[bytes] = []
            code = terminal.run(container, command, output.append)
        text = b"".join(output).decode("utf-8", "replace")
        if json:
            print_json({"agent": agent, "exitCode": code, "output": text})
        else:
            sys.stdout.write("".join(records.clean(line) + "\n" for line in text.splitlines()))
        raise typer.Exit(code)
