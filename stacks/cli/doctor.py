"""coppice doctor: what this machine has of what Coppice needs."""

from dataclasses import asdict

import typer
from rich.markup import escape

from coppice.stacks.cli.common import JsonOption, out, print_json


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def doctor(json: JsonOption = False) -> None:
        """Check what Coppice needs on this machine; say what to do about what is missing."""
        from coppice.stacks.doctor import checks

        missing = False
        found = []
        for check, needed in checks():
            missing = missing or (needed and not check.good)
            found.append({**asdict(check), "needed": needed})
            if json:
                continue
            mark = (
                "[green]ok[/]     " if check.good else "[red]missing[/]" if needed else "[yellow]none[/]   "
            )
            out.print(f"{mark} {check.name}: {escape(check.found)}", soft_wrap=True)
            if check.remedy:
                out.print(f"        remedy: {escape(check.remedy)}", soft_wrap=True)
        if json:
            print_json(found)
        raise typer.Exit(1 if missing else 0)
