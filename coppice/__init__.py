"""Infrastructure as code for fleets of coding agents.

Public API: `Grove`, the component that provisions a grove file, and `Agent`, one agent of it. They are loaded
on first use: importing the package does not import Pulumi.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coppice.components.agent import Agent
    from coppice.components.grove import Grove

__all__ = ["Agent", "Grove"]


def __getattr__(name: str) -> Any:
    if name == "Grove":
        from coppice.components.grove import Grove

        return Grove
    if name == "Agent":
        from coppice.components.agent import Agent

        return Agent
    raise AttributeError(f"module 'coppice' has no attribute {name!r}")
