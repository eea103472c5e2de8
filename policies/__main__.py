"""The policy pack, as the engine starts it. `PolicyPack` serves and never returns: rules live elsewhere."""

from pulumi_policy import EnforcementLevel, PolicyPack

# By its full name: the pack is run as a folder, which makes this folder the first place of imports.
from coppice.policies.rules import boxes

PolicyPack(
    name="coppice",
    description="What no agent's box may be, however it was made",
    enforcement_level=EnforcementLevel.MANDATORY,
    policies=list(boxes.POLICIES),
)
