"""Access: what each agent may touch, never less than it is."""

import json
import math
from pathlib import Path

import pytest

from coppice.groves.access import AgentAccess, HarnessNeeds, compute
from coppice.groves.errors import InputError
from coppice.groves.load import load_grove, parse_grove
from coppice.groves.plan import plan

HEAD = "apiVersion: coppice.dev/v1\n"
GOLDEN = Path(__file__).parent / "golden"
NEEDS = {
    "shell": HarnessNeeds(),
    "claude": HarnessNeeds(("api.anthropic.com:443",), ("ANTHROPIC_API_KEY",)),
    "codex": HarnessNeeds(("api.openai.com:443",), ("OPENAI_API_KEY",), built=False),
}


def access(agents: str) -> tuple[AgentAccess, ...]:
    grove = parse_grove((HEAD + agents).encode(), "g.yaml")
    return compute(plan(grove, source=Path("/x/shop.yaml")), NEEDS)


def test_golden_access() -> None:
    source = GOLDEN / "shop.yaml"
    found = [item.to_json() for item in compute(plan(load_grove(source), source=source), NEEDS)]
    assert found == json.loads((GOLDEN / "shop.access.json").read_text())


def test_shell_touches_nothing() -> None:
    (item,) = access("agents: {a: {harness: shell, prompt: x}}")
    assert item.summary() == "network none, secrets none, spend 0"
    assert item.mounts == ("/workspace (own clone of . at HEAD, branch agents/a)",)
    assert item.spend_usd == 0.0
    assert item.unbuilt == ()


def test_a_harness_brings_its_needs_and_its_spend() -> None:
    (item,) = access("agents: {a: {harness: claude, prompt: x}}")
    assert item.summary() == "network api.anthropic.com:443, secrets ANTHROPIC_API_KEY, spend unlimited"
    assert math.isinf(item.spend_usd)
    assert item.to_json()["spendUsd"] == "unlimited"
    json.dumps(item.to_json(), allow_nan=False)


def test_a_budget_bounds_the_spend_of_all_alike() -> None:
    (item,) = access("agents: {a: {harness: claude, prompt: x, count: 3, budget: {usd: 2.5}}}")
    assert item.spend_usd == 7.5
    assert item.unbuilt == ("agents.a.budget", "agents.a.count")


def test_what_is_asked_for_is_shown_even_if_not_built() -> None:
    (item,) = access(
        "agents: {a: {harness: shell, prompt: x, endpoints: [npm], secrets: [token], services: [db],"
        " mounts: [{volume: notes, path: /n}], messages: {broadcast: true}, spawn: {templates: [t], maxAlive: 2}}}"
    )
    assert item.network == ("endpoint:npm", "service:db")
    assert item.secrets == ("token",)
    assert item.mounts[1] == "/n (path /n, volume notes)"
    assert item.messages.broadcast
    assert item.spawn.max_alive == 2
    assert math.isinf(item.spend_usd)
    assert len(item.unbuilt) == 6


def test_harness_that_is_not_built_is_listed() -> None:
    (item,) = access("agents: {a: {harness: codex, prompt: x}}")
    assert item.unbuilt == ("agents.a.harness",)


def test_unknown_harness_is_refused_where_it_is_written() -> None:
    with pytest.raises(InputError) as caught:
        access(
            "templates: {t: {harness: cluade}}\nagents:\n  a: {template: t, prompt: x}\n  b: {harness: q, prompt: x}\n  c: {template: t, prompt: x}\n"
        )
    assert [str(problem) for problem in caught.value.problems] == [
        "g.yaml:2:26: templates.t.harness: there is no harness 'cluade'. Did you mean 'claude'?",
        "g.yaml:5:16: agents.b.harness: there is no harness 'q'. Known: claude, codex, shell.",
    ]
