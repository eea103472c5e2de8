"""coppice show: the grove with every default filled in, and what each agent may touch."""

import typer

from coppice.stacks.cli.common import GroveArgument, JsonOption, accesses, out, print_json, show_access


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def show(grove: GroveArgument = None, json: JsonOption = False) -> None:
        """Print a grove with every default filled in, and each agent's access."""
        import yaml

        from coppice.groves import resolved
        from coppice.groves.load import load_grove
        from coppice.groves.plan import plan
        from coppice.stacks.project import grove_file

        path = grove_file(grove)
        loaded = load_grove(path)
        made = plan(loaded, source=path)
        items = accesses(made)
        whole = resolved(loaded, made)
        if json:
            print_json({"grove": whole, "access": [item.to_json() for item in items]})
            return
        out.print(yaml.safe_dump(whole, sort_keys=False, allow_unicode=True), markup=False)
        show_access(made, items, out)
