"""coppice:docker:Workspace: an agent's own clone, on its own branch, in a volume.

The base is chosen once, when the clone is made: a ref that moves later changes no running agent.
"""

import contextlib

from coppice.components.plugin.handlers.base import Context, Values
from coppice.components.plugin.handlers.volume_content import VolumeContent
from coppice.components.plugin.helper_box import helper, run
from coppice.harnesses.layout import GID, MIRROR, UID, WORKSPACE

# The clone is made as the agent's own user: git refuses repositories of another owner, and the agent must be
# able to write all of it. Objects are borrowed from the mirror by a read-only alternate.
_CLONE = f"""
set -eu
chown {UID}:{GID} {WORKSPACE}
exec setpriv --reuid {UID} --regid {GID} --clear-groups --inh-caps=-all sh -euc '
  export GIT_CONFIG_NOSYSTEM=1 HOME=/tmp
  cd {WORKSPACE}
  if [ -e .git ]; then exit 0; fi
  rm -rf .git-new
  git init -q --initial-branch="$2" .git-new/work
  mv .git-new/work/.git .git-new/git
  rmdir .git-new/work
  export GIT_DIR={WORKSPACE}/.git-new/git GIT_WORK_TREE={WORKSPACE}
  echo {MIRROR}/objects > "$GIT_DIR/objects/info/alternates"
  git update-ref refs/coppice/base "$1"
  git update-ref "refs/heads/$2" "$1"
  git reset -q --hard
  # Last of all, so that a clone that was cut off is made again from the start.
  mv .git-new/git .git
  rmdir .git-new
' clone "$1" "$2"
"""


class Workspace(VolumeContent):
    """Inputs: `volume`, `mirror` (its volume), `image`, `base` (commit), `branch`. Output: `commit`, the base kept."""

    token = "coppice:docker:Workspace"
    required = frozenset({"volume", "mirror", "image", "base", "branch"})
    outputs = frozenset({"commit"})
    unwatched = VolumeContent.unwatched | {"base"}

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
