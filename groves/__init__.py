"""Grove files: from YAML to a plan, and what each agent of it may touch. Pure: no engine, no network, no git.

grove = load_grove("grove.yaml")               # reads and checks: every problem at once
made = plan(grove, source=Path("grove.yaml"))  # coppice.groves.plan.plan: defaults filled in
access = compute(made, needs)                  # everything each agent may touch, as data
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coppice.groves.access import AgentAccess, HarnessNeeds, compute
    from coppice.groves.errors import CoppiceError, InputError, Problem, RefusedError
    from coppice.groves.load import find_grove, load_grove, parse_grove
    from coppice.groves.model import Grove
    from coppice.groves.plan import AgentPlan, Plan, RepositoryPlan, Resources, Unbuilt
    from coppice.groves.show import resolved

# `plan` is not among them: it is the name of its module.
__all__ = [
    "AgentAccess",
    "AgentPlan",
    "CoppiceError",
    "Grove",
    "HarnessNeeds",
    "InputError",
    "Plan",
    "Problem",
    "RefusedError",
    "RepositoryPlan",
    "Resources",
    "Unbuilt",
    "compute",
    "find_grove",
    "load_grove",
    "parse_grove",
    "resolved",
]

_HOMES = {
    "AgentAccess": "access",
    "HarnessNeeds": "access",
    "compute": "access",
    "CoppiceError": "errors",
    "InputError": "errors",
    "Problem": "errors",
    "RefusedError": "errors",
    "find_grove": "load",
    "load_grove": "load",
    "parse_grove": "load",
    "Grove": "model",
    "AgentPlan": "plan",
    "Plan": "plan",
    "RepositoryPlan": "plan",
    "Resources": "plan",
    "Unbuilt": "plan",
    "resolved": "show",
}


def __getattr__(name: str) -> Any:
    # Imported when first asked for: whoever wants the errors alone does not load the schema's machinery.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
