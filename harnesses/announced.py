"""Harnesses that a grove file may name and that are not built yet: what they will need is known already.

`validate` and `preview` accept and show them; `up` refuses them by name. A module `<name>.py` takes over.
"""

from dataclasses import dataclass

from coppice.groves.access import HarnessNeeds
from coppice.groves.errors import RefusedError
from coppice.groves.plan import AgentPlan
from coppice.harnesses.base import LaunchSpec

BY_MODEL = "endpoint:decided-by-model"  # no host is called so: it is shown, and nothing can match it


@dataclass(frozen=True, kw_only=True)
class Announced:
    """A harness by its needs alone."""

    name: str
    product: str
    endpoints: tuple[str, ...] = ()
    credentials: tuple[str, ...] = ()

    def needs(self) -> HarnessNeeds:
        """What it will need; `built` is false."""
        return HarnessNeeds(endpoints=self.endpoints, credentials=self.credentials, built=False)

    def launch(self, agent: AgentPlan) -> LaunchSpec:
        """Refuse.

        Raises:
            RefusedError: always.
        """
        from coppice.harnesses import registry  # noqa: PLC0415  # it lists this module's harnesses

        built = ", ".join(name for name in registry.names() if registry.get(name).needs().built)
        raise RefusedError(
            f"agent {agent.name}: the harness {self.name} ({self.product}) is not built yet",
            hint=f"use one that is: {built}",
        )


HARNESSES = (
    Announced(
        name="claude",
        product="Claude Code",
        endpoints=("api.anthropic.com:443",),
        credentials=("ANTHROPIC_API_KEY",),
    ),
    Announced(
        name="codex", product="Codex", endpoints=("api.openai.com:443",), credentials=("OPENAI_API_KEY",)
    ),
    Announced(
        name="gemini",
        product="Gemini CLI",
        endpoints=("generativelanguage.googleapis.com:443",),
        credentials=("GEMINI_API_KEY",),
    ),
    # These two speak to many providers. Nothing at all would read as no network and no cost.
    Announced(name="opencode", product="OpenCode", endpoints=(BY_MODEL,), credentials=(BY_MODEL,)),
    Announced(name="adk", product="Agent Development Kit", endpoints=(BY_MODEL,), credentials=(BY_MODEL,)),
)
