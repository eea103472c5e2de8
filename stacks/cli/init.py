"""coppice init: make a repository a project of groves."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from coppice.stacks.cli.common import JsonOption, out, print_json


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def init(
        folder: Annotated[
            Path | None, typer.Argument(help="Where to write; by default the top of this repository.")
        ] = None,
        name: Annotated[
            str | None, typer.Option("--name", "-n", help="Project; by default the folder's name.")
        ] = None,
        json: JsonOption = False,
    ) -> None:
        """Write a first grove, Pulumi.yaml and the two-line program into a repository; overwrites nothing."""
        from coppice.stacks.scaffold import scaffold

        made = scaffold((folder or Path()).resolve(), name, here=folder is not None)
        if json:
            print_json(
                {"root": str(made.root), "project": made.project, "written": made.written, "kept": made.kept}
            )
            return
        for path in made.written:
            out.print(f"  [green]wrote[/] {escape(path)}")
        for path in made.kept:
            out.print(f"  [dim]kept  {escape(path)} (there already)[/]")
        out.print("next: commit these files, then")
        for command, what in (
            ("coppice preview", "what the agent will be able to reach"),
            ("coppice up", "start it"),
            ("coppice destroy", "remove everything"),
        ):
            out.print(f"  {command:20}[dim]# {what}[/]")
