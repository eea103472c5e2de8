"""Whatever the file holds, load and plan give a plan or an InputError."""

import json
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coppice.groves import resolved
from coppice.groves.access import HarnessNeeds, compute
from coppice.groves.errors import InputError
from coppice.groves.load import parse_grove
from coppice.groves.model import Agent, Grove, yaml_name
from coppice.groves.plan import Plan, plan

SOURCE = Path("/x/hello.yaml")
FEW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

FIELDS = [yaml_name(Grove, name) for name in Grove.model_fields] + [
    yaml_name(Agent, name) for name in Agent.model_fields
]
FIELDS += ["path", "ref", "cpu", "memory", "pids", "duration", "turns", "usd", "send", "a", "Fix", "<<", ""]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["shell", "coppice.dev/v1", "500m", "1Gi", "2h", "commit", "vm", "x", "a", "HEAD"]),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)
BODIES = st.dictionaries(st.sampled_from(FIELDS), TREES, max_size=4)


def check(error: InputError) -> None:
    assert error.problems
    for problem in error.problems:
        assert problem.message
        assert problem.remedy
        assert problem.line is not None
        assert "\n" not in str(problem)


def attempt(raw: bytes) -> Plan | None:
    try:
        grove = parse_grove(raw, "g.yaml")
        made = plan(grove, source=SOURCE)
        items = compute(made, {agent.harness: HarnessNeeds() for agent in made.agents})
    except InputError as error:
        check(error)
        return None
    json.dumps([made.to_json(), [item.to_json() for item in items]], allow_nan=False)
    again = yaml.safe_dump(resolved(grove, made), sort_keys=False)
    assert plan(parse_grove(again.encode(), "again"), source=SOURCE).agents == made.agents
    return made


@FEW
@given(st.binary(max_size=200))
def test_any_bytes(raw: bytes) -> None:
    attempt(raw)


@FEW
@given(st.text(alphabet="ab:-?[]{}&*!|>'\"%@#,~<. \n\t0\\", max_size=80))
def test_any_yaml_like_text(text: str) -> None:
    attempt(text.encode())


@FEW
@given(TREES)
def test_any_tree(tree: Any) -> None:
    attempt(yaml.safe_dump(tree).encode())


@FEW
@given(BODIES, BODIES, BODIES)
def test_any_fields_around_a_good_agent(
    top: dict[str, Any], template: dict[str, Any], agent: dict[str, Any]
) -> None:
    grove = {
        **top,
        "apiVersion": "coppice.dev/v1",
        "templates": {"t": template},
        "agents": {
            "a": {"harness": "shell", "prompt": "x", **agent},
            "b": {"template": "t", "harness": "shell", "prompt": "y"},
        },
    }
    attempt(yaml.safe_dump(grove).encode())


def test_the_attempt_itself_can_succeed() -> None:
    made = attempt(
        b"apiVersion: coppice.dev/v1\nagents: {a: {harness: shell, prompt: x, resources: {cpu: 250m}}}"
    )
    assert made is not None
    assert made.agents[0].resources.cpu == 0.25
