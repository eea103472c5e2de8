"""The last word before resources: what a grove asks for and Coppice cannot do yet is refused, all at once."""

from coppice.groves.errors import RefusedError
from coppice.groves.plan import Plan
from coppice.harnesses import registry


def refuse_unbuilt(plan: Plan) -> None:
    """Refuse a plan with fields or harnesses that are not built yet.

    Raises:
        RefusedError: naming every such field and harness.
    """
    messages = [f"{item.file}:{item.line}: {item.field}: {item.feature}" for item in plan.unbuilt]
    messages += [
        f"agents.{agent.name}.harness: {agent.harness}"
        for agent in plan.agents
        if not registry.get(agent.harness).needs().built
    ]
    if messages:
        built = ", ".join(name for name in registry.names() if registry.get(name).needs().built)
        raise RefusedError(
            "the grove asks for what is not built yet:\n" + "\n".join(f"  {message}" for message in messages),
            hint=f"take these out; harnesses that are built: {built}",
        )
