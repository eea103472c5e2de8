"""Names: what agents, templates and groves may be called, and the names derived from them."""

import re

from coppice.groves.errors import shown

MAX_LABEL = 63
# Names are put together (stack <grove>.<agent>, containers, volumes): both halves and a suffix must fit.
MAX_NAME = 40
RESERVED = frozenset({"broker", "coppice", "operator"})

NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", re.ASCII)


def suggest_name(name: str, otherwise: str = "my-grove") -> str:
    """Return the allowed name nearest to `name`, or `otherwise` if nothing of it can be kept."""
    label = re.sub(r"[^a-z0-9]+", "-", name[: 2 * MAX_NAME].lower(), flags=re.ASCII)
    label = label.strip("-")[:MAX_NAME].rstrip("-")
    return label if label and label not in RESERVED else otherwise


def name_problem(name: str, what: str, longest: int = MAX_NAME) -> tuple[str, str] | None:
    """Say what is wrong with a name.

    Args:
        name: the name as written.
        what: what it names, for the message ("agent", "grove", "template").
        longest: how many characters it may have.

    Returns:
        None if the name is allowed, else (message, remedy).
    """
    article = "an" if what[0] in "aeiou" else "a"
    rule = "Use lower-case letters, digits and hyphens, with a letter or digit at both ends."
    if not name:
        return f"the {what}'s name is empty", rule
    if len(name) > longest:
        return (
            f"the {what}'s name has {len(name)} characters, more than {longest}",
            "Choose a shorter one.",
        )
    if "." in name:
        near = suggest_name(name, "")
        return (
            f"the {what}'s name {shown(name)} has a dot, which separates a grove from its agents",
            f"Write {near!r}." if near else rule,
        )
    if not _LABEL.fullmatch(name):
        near = suggest_name(name, "")
        return (
            f"{shown(name)} is not a name for {article} {what}",
            f"Write {near!r}. {rule}" if near else rule,
        )
    if name in RESERVED:
        return f"the {what}'s name {name!r} is reserved", f"Choose another, such as '{name}-1'."
    return None


def branch_name(agent: str) -> str:
    """Return the git branch of an agent, safe as a ref because agent names are DNS labels.

    Raises:
        ValueError: if `agent` is not an allowed name.
    """
    problem = name_problem(agent, "agent")
    if problem is not None:
        raise ValueError(problem[0])
    return f"agents/{agent}"


def snapshot_ref(grove: str, agent: str) -> str:
    """Return the full git ref for what an agent left uncommitted."""
    return f"refs/coppice/snapshots/{grove}/{agent}"
