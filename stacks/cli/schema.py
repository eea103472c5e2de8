"""coppice schema: the JSON Schema of grove files."""

import typer

from coppice.stacks.cli.common import JsonOption, print_json


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def schema(json: JsonOption = False) -> None:
        """Print the JSON Schema of grove files, for editors and CI (it is JSON either way)."""
        from coppice.groves.schema import build

        del json
        print_json(build())
