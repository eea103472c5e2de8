"""Any command is an agent: the prompt is a bash script, run in the workspace. It needs no host."""

from coppice.groves.access import HarnessNeeds
from coppice.groves.plan import AgentPlan
from coppice.harnesses import layout
from coppice.harnesses.base import BASE_IMAGE, LaunchSpec

PROMPT = "prompt"


class Shell:
    """Runs the prompt with `bash -euo pipefail`; its exit code is the outcome."""

    name = "shell"

    def needs(self) -> HarnessNeeds:
        """Nothing."""
        return HarnessNeeds(endpoints=(), credentials=(), built=True)

    def launch(self, agent: AgentPlan) -> LaunchSpec:
        """The prompt as a file: it is no argument, so that it is neither limited in length nor in `ps`."""
        return LaunchSpec(
            image=BASE_IMAGE,
            argv=("bash", "-euo", "pipefail", f"{layout.FILES_DIR}/{PROMPT}"),
            # A prompt that was written with Windows' line ends is no other script.
            files={PROMPT: agent.prompt.replace("\r\n", "\n")},
        )


HARNESS = Shell()
