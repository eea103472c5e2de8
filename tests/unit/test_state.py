"""What a stack holds, read from its exported state."""

from typing import Any

import pytest

from coppice.components.ownership import refuse_another
from coppice.groves.errors import RefusedError
from coppice.stacks.state import AgentState, read


def resource(kind: str, name: str, parent: str = "", **fields: Any) -> dict[str, Any]:
    return {"urn": f"urn:{kind}::{name}", "type": kind, "parent": parent, **fields}


GROVE = resource("coppice:grove:Grove", "shop", inputs={"grove": "shop", "repository": "/r"})
AGENT = resource("coppice:grove:Agent", "shop-fix", GROVE["urn"], inputs={"agent": "fix"})
WORKSPACE = resource(
    "coppice:docker:Workspace", "shop-fix-workspace", AGENT["urn"],
    inputs={"branch": "agents/fix", "volume": "v", "mirror": "m", "image": "i", "base": "new"},
    outputs={"branch": "agents/fix", "volume": "v", "mirror": "m", "image": "i", "base": "old", "commit": "old"},
)  # fmt: skip
BOX = resource("docker:index/container:Container", "shop-fix", AGENT["urn"], id="c2")
POWER = resource(
    "coppice:docker:Power", "shop-fix-power", AGENT["urn"],
    inputs={"container": "c2", "run": "r2"},
    outputs={"container": "c2", "run": "r2", "got": "finished", "finished": "r2", "ended": "done"},
)  # fmt: skip


def export(*resources: dict[str, Any]) -> dict[str, Any]:
    return {"version": 3, "deployment": {"resources": list(resources)}}


def test_a_whole_agent() -> None:
    found = read(export(GROVE, AGENT, WORKSPACE, BOX, POWER))
    assert found is not None
    assert (found.grove, found.repository) == ("shop", "/r")
    assert found.agents == {
        "fix": AgentState(
            name="fix",
            box="c2",
            run="r2",
            ended="done",
            base="old",
            branch="agents/fix",
            volume="v",
            mirror="m",
            image="i",
        )
    }


def test_an_update_that_failed_half_way_leaves_what_was_made() -> None:
    found = read(export(GROVE, AGENT, WORKSPACE))
    assert found is not None
    assert found.agents["fix"].box == ""
    assert found.agents["fix"].volume == "v"
    assert read(export(GROVE, AGENT)) is not None
    begun = read(export(GROVE))
    assert begun is not None
    assert begun.agents == {}


@pytest.mark.parametrize("state", [{}, {"deployment": None}, {"deployment": {}}, export()])
def test_a_stack_without_a_grove(state: dict[str, Any]) -> None:
    assert read(state) is None


def test_what_a_replacement_left_to_be_removed_is_not_what_stands() -> None:
    old = {**BOX, "id": "c1", "delete": True}
    found = read(export(GROVE, AGENT, WORKSPACE, BOX, POWER, old))
    assert found is not None
    assert found.agents["fix"].box == "c2"


def test_whose_a_stack_is_the_mirror_says() -> None:
    mirror = resource("coppice:docker:Mirror", "shop-mirror", GROVE["urn"], inputs={"repository": "/first"})
    found = read(export({**GROVE, "inputs": {"grove": "shop", "repository": "/second"}}, mirror))
    assert found is not None
    assert found.repository == "/first"


def test_how_an_earlier_run_ended_is_not_how_this_one_did() -> None:
    changed = {**POWER, "outputs": {**POWER["outputs"], "run": "r3"}}
    found = read(export(GROVE, AGENT, WORKSPACE, BOX, changed))
    assert found is not None
    assert (found.agents["fix"].run, found.agents["fix"].ended) == ("r3", "")


def test_a_stack_belongs_to_its_repository_unless_that_was_moved(tmp_path: Any) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    refuse_another(str(here), str(here))
    with pytest.raises(RefusedError) as caught:
        refuse_another(str(here), str(there))
    assert "-s NAME" in str(caught.value.hint)
    refuse_another(str(tmp_path / "moved-away"), str(there))
