"""coppice validate: check a grove file, all errors at once."""

import typer

from coppice.stacks.cli.common import GroveArgument, JsonOption, accesses, out, print_json, unbuilt_fields


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def validate(grove: GroveArgument = None, json: JsonOption = False) -> None:
        """Check a grove file: every error at once, with file, line, column and remedy."""
        from coppice.groves.load import load_grove
        from coppice.groves.plan import plan
        from coppice.stacks.project import grove_file

        path = grove_file(grove)
        made = plan(load_grove(path), source=path)
        accesses(made)  # names the harness that nobody has
        unbuilt = unbuilt_fields(made)
        if json:
            print_json(
                {"grove": made.grove, "file": str(path), "agents": len(made.agents), "unbuilt": unbuilt}
            )
            return
        out.print(f"{path}: grove {made.grove} is valid, {len(made.agents)} agent(s)", markup=False)
        for field in unbuilt:
            out.print(f"  not built yet, `up` refuses it: {field}", markup=False)
