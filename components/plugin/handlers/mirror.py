"""coppice:docker:Mirror: the grove's bare copy of the repository, in a volume that boxes mount read-only.

Every commit that an agent started from is pinned by a ref and nothing is ever pruned, because agents' clones
borrow the mirror's objects: garbage collection here would break them.
"""

import contextlib
import tempfile
from pathlib import Path

from coppice.components import ownership, repository
from coppice.components.plugin.handlers.base import Context, Values
from coppice.components.plugin.handlers.volume_content import VolumeContent
from coppice.components.plugin.helper_box import helper, put_stream, run

_FETCH = """
set -eu
export GIT_CONFIG_NOSYSTEM=1 HOME=/tmp
git init -q --bare --initial-branch=coppice /mirror
git -C /mirror config gc.auto 0
git -C /mirror config core.logAllRefUpdates false
git -C /mirror fetch -q --no-tags /tmp/base.bundle 'refs/coppice/bases/*:refs/coppice/bases/*'
"""


class Mirror(VolumeContent):
    """Inputs: `volume`, `image` (for the helper), `repository` (path on this machine), `commit`. No outputs."""

    token = "coppice:docker:Mirror"
    required = frozenset({"volume", "image", "repository", "commit"})

    def changes(self, old: Values, new: Values) -> list[str]:
        """Refuse another repository: agents would go on in workspaces of the one before.

        Raises:
            RefusedError: `repository` names another one, and the old one is still there (it was not moved).
        """
        ownership.refuse_another(old["repository"], new["repository"])
        return super().changes(old, new)

    def fill(self, context: Context, inputs: Values) -> Values:
        context.tell("bundling the repository")
        with tempfile.TemporaryDirectory(prefix="coppice-mirror-") as folder:
            bundle = Path(folder) / "base.bundle"
            repository.bundle_base(Path(inputs["repository"]), inputs["commit"], bundle)
            with contextlib.closing(context.client()) as client:
                mounts = {"/mirror": (inputs["volume"], False)}
                with helper(client, inputs["image"], mounts, ["sh", "-c", _FETCH]) as box:
                    put_stream(box, "/tmp", bundle.name, bundle)  # noqa: S108 (inside the helper)
                    context.tell("filling the mirror")
                    run(box, "fill the mirror")
        return {}
