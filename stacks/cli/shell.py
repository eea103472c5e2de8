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
        from coppice.components.runtimes.docker import terminal
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
            if json:
                kept = _Kept()
                code = terminal.run(container, command, kept.write)
                print_json({"agent": agent, "exitCode": code, "output": kept.text(), "cut": kept.cut})
            else:
                printed = _Printed()
                code = terminal.run(container, command, printed.write)
                printed.end()
        raise typer.Exit(code)


_LINE = 1 << 16  # bytes of a line that are held back for its end
_MOST = 1 << 22  # bytes of output in an answer in JSON


class _Printed:
    """Print output line by line as it comes, cleaned; a line that does not end is printed in pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def write(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._print(lines)
        if len(self._rest) > _LINE:
            self.end()

    def end(self) -> None:
        if self._rest:
            self._print([self._rest])
            self._rest = b""

    def _print(self, lines: list[bytes]) -> None:
        from coppice.components.runtimes.docker.records import clean

        sys.stdout.write("".join(clean(line.decode("utf-8", "replace")) + "\n" for line in lines))
        sys.stdout.flush()


class _Kept:
    """Keep the beginning of output; `cut` says whether there was more."""

    def __init__(self) -> None:
        self._data = bytearray()
        self.cut = False

    def write(self, data: bytes) -> None:
        self._data += data[: _MOST - len(self._data)]
        self.cut = self.cut or len(self._data) >= _MOST

    def text(self) -> str:
        return self._data.decode("utf-8", "replace")
