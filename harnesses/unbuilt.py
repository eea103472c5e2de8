"""The last word before resources: what a grove asks for and Coppice cannot do yet is refused, all at once."""

from coppice.groves.errors import RefusedError
from coppice.groves.plan import Plan
from coppice.harnesses import registry


def unbuilt(plan: Plan) -> tuple[str, ...]:
    """Return every field and harness that is not built yet, as "file:line: field: what it asks for"."""
    fields = [_at(item.file, item.line, item.field, item.feature) for item in plan.unbuilt]
    for agent in plan.agents:
        if not registry.get(agent.harness).needs().built:
            written = agent.harness_at
            file, line = (written.file, written.line) if written else (str(plan.source), None)
            fields.append(_at(file, line, f"agents.{agent.name}.harness", agent.harness))
    return tuple(fields)


def _at(file: str, line: int | None, field: str, feature: str) -> str:
    place = file if line is None else f"{file}:{line}"
    return f"{place}: {field}: {feature}"


def refuse_unbuilt(plan: Plan) -> None:
    """Refuse a plan with fields or harnesses that are not built yet.

    Raises:
        RefusedError: naming every such field and harness.
    """
    found = unbuilt(plan)
    if found:
        built = ", ".join(name for name in registry.names() if registry.get(name).needs().built)
        raise RefusedError(
            "the grove asks for what is not built yet:\n" + "\n".join(f"  {item}" for item in found),
            hint=f"take these out; harnesses that are built: {built}",
        )
