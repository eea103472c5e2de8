"""coppice:docker:BoxFiles: the files a box reads and cannot write: its launch document and the harness's files.

They are in a volume of their own, so that a new prompt changes a file and not the container.
"""

import contextlib

from coppice.components.plugin.handlers.base import Context, Values
from coppice.components.plugin.handlers.volume_content import VolumeContent
from coppice.components.plugin.helper_box import helper, put_files, run

# Files of an earlier set must not stay behind: a harness would read instructions that the spec no longer has.
_SWAP = "set -eu; find /box -mindepth 1 -delete; cp -R /in/. /box/; chmod -R a+rX /box"


class BoxFiles(VolumeContent):
    """Inputs: `volume`, `image` (for the helper), `files` (relative path -> text). No outputs."""

    token = "coppice:docker:BoxFiles"
    required = frozenset({"volume", "image", "files"})

    def fill(self, context: Context, inputs: Values) -> Values:
        files = {f"in/{path}": text.encode() for path, text in inputs["files"].items()}
        with (
            contextlib.closing(context.client()) as client,
            helper(client, inputs["image"], {"/box": (inputs["volume"], False)}, ["sh", "-c", _SWAP]) as box,
        ):
            put_files(box, "/", files)
            run(box, "write the box's files")
        return {}
