"""coppice:docker:BoxFiles: the files a box reads and cannot write: its launch document and the harness's files.

They are in a volume of their own, so that a new prompt changes a file and not the container.
"""

import contextlib

from coppice.components.plugin.handlers.base import Context, Handler, Values
from coppice.components.plugin.handlers.mirror import read_volume
from coppice.components.plugin.helper_box import helper, put_files, run

# Files of an earlier set must not stay behind: a harness would read instructions that the spec no longer has.
_SWAP = "set -eu; find /box -mindepth 1 -delete; cp -R /in/. /box/; chmod -R a+rX /box"


class BoxFiles(Handler):
    """Inputs: `volume`, `image` (for the helper), `files` (relative path -> text). No outputs."""

    token = "coppice:docker:BoxFiles"
    required = frozenset({"volume", "image", "files"})
    replaces = frozenset({"volume"})
    unwatched = frozenset({"image"})

    def _write(self, context: Context, inputs: Values) -> None:
        files = {f"in/{path}": text.encode() for path, text in inputs["files"].items()}
        with (
            contextlib.closing(context.client()) as client,
            helper(client, inputs["image"], {"/box": (inputs["volume"], False)}, ["sh", "-c", _SWAP]) as box,
        ):
            put_files(box, "/", files)
            run(box, "write the box's files")

    def create(self, context: Context, inputs: Values) -> tuple[str, Values]:
        self._write(context, inputs)
        return inputs["volume"], {}

    def update(self, context: Context, resource_id: str, old: Values, new: Values) -> Values:
        del resource_id, old
        self._write(context, new)
        return {}

    def read(self, context: Context, resource_id: str, state: Values) -> Values | None:
        del resource_id
        return read_volume(context, state["volume"])

    def delete(self, context: Context, resource_id: str, state: Values) -> None:
        # They go with the volume, which is a resource of its own.
        del context, resource_id, state
