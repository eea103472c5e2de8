"""coppice:docker:Workspace: an agent's own clone, on its own branch, in a volume.

The base is chosen once, when the clone is made: a ref that moves later changes no running agent.
"""

import contextlib
import os
import tempfile
from pathlib import Path

from coppice.components import homecoming
from coppice.components.plugin.handlers.base import Context, Values
from coppice.components.plugin.handlers.volume_content import VolumeContent
from coppice.components.plugin.helper_box import helper, run
from coppice.components.runtimes.docker import collector
from coppice.groves.errors import CoppiceError
from coppice.groves.naming import snapshot_ref
from coppice.harnesses.layout import GID, MIRROR, UID, WORKSPACE

DISCARD = "COPPICE_DISCARD_WORK"

# The clone is made as the agent's own user: git refuses repositories of another owner, and the agent must be
# able to write all of it. Objects are borrowed from the mirror by a read-only alternate. `.git` comes last: a
# volume without it is a clone that was cut off, and is begun again.
_CLONE = f"""
set -eu
chown {UID}:{GID} {WORKSPACE}
exec setpriv --reuid {UID} --regid {GID} --clear-groups --inh-caps=-all sh -euc '
  export GIT_CONFIG_NOSYSTEM=1 HOME=/tmp
  cd {WORKSPACE}
  if [ -e .git ]; then exit 0; fi
  find . -mindepth 1 -delete
  new=$(mktemp -d ./.coppice-clone.XXXXXXXXXX)
  git init -q --initial-branch="$2" "$new/work"
  mv "$new/work/.git" "$new/git"
  rmdir "$new/work"
  export GIT_DIR="{WORKSPACE}/$new/git" GIT_WORK_TREE={WORKSPACE}
  echo {MIRROR}/objects > "$GIT_DIR/objects/info/alternates"
  git update-ref refs/coppice/base "$1"
  git update-ref "refs/heads/$2" "$1"
  git reset -q --hard
  mv "$new/git" .git
  rmdir "$new"
' clone "$1" "$2"
"""


class Workspace(VolumeContent):
    """Inputs: `volume`, `mirror` (its volume), `image`, `base` (commit), `branch`, `grove`, `agent`, `repository`.

    Output: `commit`, the base kept. Removing it brings the agent's work home first.
    """

    token = "coppice:docker:Workspace"
    required = frozenset({"volume", "mirror", "image", "base", "branch", "grove", "agent", "repository"})
    outputs = frozenset({"commit"})
    unwatched = VolumeContent.unwatched | {"base", "repository"}

    def fill(self, context: Context, inputs: Values) -> Values:
        context.tell("cloning")
        mounts = {WORKSPACE: (inputs["volume"], False), MIRROR: (inputs["mirror"], True)}
        command = ["sh", "-c", _CLONE, "sh", inputs["base"], inputs["branch"]]
        with (
            contextlib.closing(context.client()) as client,
            helper(client, inputs["image"], mounts, command) as box,
        ):
            run(box, "clone the workspace")
        return {"commit": inputs["base"]}

    def update(self, context: Context, resource_id: str, old: Values, new: Values) -> Values:
        # Only the mirror's volume can change in place, and the clone names its path, not its name. Nothing of
        # ours runs in a workspace that an agent has had.
        del context, resource_id, new
        return {"commit": old["commit"]}

    def delete(self, context: Context, resource_id: str, state: Values) -> None:
        """Bring home what has not come yet: whoever removes an agent, and however, loses no work by it.

        Raises:
            CoppiceError: it cannot be brought home; the workspace stays.
        """
        del resource_id
        if os.environ.get(DISCARD) == "1":
            return
        workspace = collector.Workspace(
            grove=state["grove"],
            agent=state["agent"],
            branch=state["branch"],
            base=state["commit"],
            volume=state["volume"],
            mirror=state["mirror"],
            image=state["image"],
        )
        with (
            contextlib.closing(context.client()) as client,
            tempfile.TemporaryDirectory(prefix="coppice-bundle-") as folder,
        ):
            if not collector.exists(client, workspace.volume):
                return
            context.tell("bringing work home")
            bundle = Path(folder) / "branch.bundle"
            try:
                told = collector.collect(client, workspace, bundle)
                if told.bundle:
                    homecoming.bring_home(
                        Path(state["repository"]),
                        bundle,
                        branch=workspace.branch,
                        base=workspace.base,
                        snapshot_ref=snapshot_ref(workspace.grove, workspace.agent),
                        commit=told.commit,
                        snapshot=told.snapshot,
                    )
            except CoppiceError as error:
                raise CoppiceError(
                    f"{workspace.agent} has work that cannot be brought home: {error}",
                    hint=f"to lose it: `coppice destroy --discard-work`, or {DISCARD}=1 for a plain pulumi",
                ) from error
