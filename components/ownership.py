"""Whose a stack is: it belongs to the repository that it was made for."""

from pathlib import Path

from coppice.components import repository as repositories
from coppice.groves.errors import RefusedError


def owner(path: Path) -> str:
    """Return the top folder of the repository that `path` lies in: what stacks belong to.

    Raises:
        CoppiceError: it lies in none.
    """
    found = repositories.find(path)
    return str(found.working_tree_dir or found.git_dir)


def refuse_another(owned_by: str, repository: str) -> None:
    """Refuse when a stack of repository `owned_by` (a path) is used for another one.

    A repository that was moved is the same one: its old path is no more.

    Raises:
        RefusedError: both are there.
    """
    if owned_by != repository and Path(owned_by).exists():
        raise RefusedError(
            f"this stack belongs to the repository {owned_by}, not to {repository}",
            hint="give this one another stack with `-s NAME`, or the grove another `name`",
        )
