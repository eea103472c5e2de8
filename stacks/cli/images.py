"""coppice images: build the images of boxes."""

import contextlib

import typer

from coppice.stacks.cli.common import JsonOption, err, out, print_json


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = typer.Typer(help="The images of boxes.", no_args_is_help=True)
    app.add_typer(group, name="images")

    @group.callback()
    def images() -> None:
        """Images of boxes: built on the daemon, with no registry to read from."""

    @group.command()
    def build(json: JsonOption = False) -> None:
        """Build what is missing on the daemon (`up` does the same by itself)."""
        from coppice.components import images as builder
        from coppice.components.runtimes.docker import daemon

        def tell(line: str) -> None:
            if not json:
                err.print(line, markup=False)

        with contextlib.closing(daemon.find().client()) as client:
            image = builder.ensure(client, builder.BASE, builder.source_digest(), tell)
        if json:
            print_json({builder.BASE: image})
        else:
            out.print(f"{builder.BASE}: {image}", markup=False)
