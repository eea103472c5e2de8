"""Plans: defaults, templates, rules across fields, what is not built yet; and the golden plan."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from coppice.groves import resolved
from coppice.groves.errors import InputError
from coppice.groves.load import load_grove, parse_grove
from coppice.groves.model import Agent, AgentSettings, Grove, Limits, Unmade, yaml_name
from coppice.groves.naming import branch_name, suggest_name
from coppice.groves.plan import Plan, Resources, default_name, plan
from coppice.groves.units import format_duration, format_memory, parse_cpu, parse_duration, parse_memory

HEAD = "apiVersion: coppice.dev/v1\n"
GOLDEN = Path(__file__).parent / "golden"
EXAMPLES = Path(__file__).parents[2] / "groves" / "examples"


def make(text: str, source: str = "/somewhere/hello.yaml") -> Plan:
    return plan(parse_grove((HEAD + text).encode(), "g.yaml"), source=Path(source))


def problems(text: str, source: str = "/somewhere/hello.yaml") -> list[str]:
    with pytest.raises(InputError) as caught:
        make(text, source)
    return [str(problem) for problem in caught.value.problems]


def test_golden_plan() -> None:
    source = GOLDEN / "shop.yaml"
    found = plan(load_grove(source), source=source).to_json()
    assert found == json.loads((GOLDEN / "shop.plan.json").read_text())


def test_five_lines_have_safe_defaults() -> None:
    source = EXAMPLES / "five-lines.yaml"
    lines = [line for line in source.read_text().splitlines() if not line.startswith("#")]
    assert len(lines) == 5
    made = plan(load_grove(source), source=source)
    (agent,) = made.agents
    assert made.grove == "five-lines"
    assert made.unbuilt == ()
    assert made.repository.path == source.parent.absolute()
    assert made.repository.ref == "HEAD"
    assert agent.resources == Resources(cpu=1.0, memory=1024**3, pids=256)
    assert (agent.duration, agent.expect, agent.isolation) == (7200, "none", "container")
    assert agent.branch == "agents/fix"
    assert agent.labels["dev.coppice.agent"] == "fix"


@pytest.mark.parametrize("source", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_what_show_prints_is_the_same_grove(source: Path) -> None:
    grove = load_grove(source)
    made = plan(grove, source=source)
    text = yaml.safe_dump(resolved(grove, made), sort_keys=False)
    assert plan(parse_grove(text.encode(), "shown"), source=source).to_json() == made.to_json()


def test_show_fills_in_every_default() -> None:
    source = GOLDEN / "shop.yaml"
    grove = load_grove(source)
    shown = resolved(grove, plan(grove, source=source))
    assert shown["agents"]["writer"]["resources"] == {"cpu": 2, "memory": "512Mi", "pids": 64}
    assert shown["agents"]["alone"]["limits"] == {"duration": "2h"}
    assert shown["repository"] == {"path": "..", "ref": "main"}
    assert shown["services"] == {"db": {"image": "postgres:16"}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "agents: {}",
            [
                "g.yaml:2:9: agents: the grove has no agents. Add one under 'agents', with a harness and a prompt."
            ],
        ),
        (
            "agents:\n  a:\n    prompt: x\n",
            [
                "g.yaml:3:3: agents.a: the agent has no harness. Write 'harness:' in the agent or its template."
            ],
        ),
        (
            "agents: {a: {harness: shell}}",
            ["g.yaml:2:10: agents.a: the agent has no prompt. Write 'prompt:' in the agent or its template."],
        ),
        (
            "templates: {coder: {harness: shell}}\nagents: {a: {template: codr, prompt: x}}",
            ["g.yaml:3:24: agents.a.template: there is no template 'codr'. Did you mean 'coder'?"],
        ),
        (
            "agents: {a: {template: t, prompt: x}}",
            [
                "g.yaml:2:24: agents.a.template: there is no template 't'. Add it under 'templates': there are none yet."
            ],
        ),
        (
            "templates:\n  t: {template: u}\n  u: {template: t}\nagents: {a: {harness: shell, prompt: x}}",
            [
                "g.yaml:4:17: templates.u.template: templates build on each other in a circle: t -> u -> t. Break it."
            ],
        ),
        (
            "templates: {t: {template: t}}\nagents: {a: {harness: shell, prompt: x}}",
            [
                "g.yaml:2:27: templates.t.template: templates build on each other in a circle: t -> t. Break it."
            ],
        ),
        (
            "templates: {t: {template: q}}\nagents: {a: {harness: shell, prompt: x}}",
            ["g.yaml:2:27: templates.t.template: there is no template 'q'. Known: t."],
        ),
        (
            "templates: {t: {prompt: ' '}}\nagents: {a: {harness: shell, template: t}}",
            ["g.yaml:2:25: templates.t.prompt: the prompt is blank. Say what the agent is to do."],
        ),
    ],
)
def test_rules_across_fields(text: str, expected: list[str]) -> None:
    assert problems(text) == expected


def test_default_names() -> None:
    agents = "agents: {a: {harness: shell, prompt: x}}"
    assert make(agents, "/x/shop/grove.yaml").grove == "shop"
    assert make(agents, "/x/shop/coppice.yml").grove == "shop"
    assert make(agents, "/x/shop/nightly.yaml").grove == "nightly"
    assert make("name: mine\n" + agents, "/x/My Shop/grove.yaml").grove == "mine"
    assert default_name(Path("/x/grove.yaml")) == "x"
    assert problems(agents, "/x/My Shop/grove.yaml")[0].startswith(
        "g.yaml:1:1: no name is set and the default,"
    )
    assert "Add a line such as 'name: my-shop'." in problems(agents, "/x/My Shop/grove.yaml")[0]
    assert "Add a line such as 'name: my-grove'." in problems(agents, "/grove.yaml")[0]


def test_paths_are_absolute_and_normal() -> None:
    made = make("repository: {path: ../a/./b}\nagents: {a: {harness: shell, prompt: x}}", "/x/y/g.yaml")
    assert made.repository.path == Path("/x/a/b")
    assert made.repository_shown == "../a/b"
    assert made.to_json()["repository"]["path"] == "../a/b"


def test_order_in_the_file_does_not_matter() -> None:
    one = make("agents: {b: {harness: shell, prompt: x}, a: {prompt: y, harness: shell}}")
    two = make("agents: {a: {harness: shell, prompt: y}, b: {prompt: x, harness: shell}}")
    assert one == two
    assert [agent.name for agent in one.agents] == ["a", "b"]


def test_templates_merge_mappings_and_replace_lists() -> None:
    (agent,) = make(
        "templates:\n"
        "  t: {harness: shell, endpoints: [a, b], resources: {cpu: 2, pids: 9}, messages: {send: [x], broadcast: true}}\n"
        "agents:\n"
        "  w: {template: t, prompt: p, endpoints: [c], resources: {pids: 10}, messages: {send: []}}\n"
    ).agents
    assert agent.endpoints == ("c",)
    assert agent.resources == Resources(cpu=2.0, memory=1024**3, pids=10)
    assert (agent.messages.send, agent.messages.broadcast) == ((), True)


# A value for every field that is marked as not built; a new mark without one fails the test below.
VALUES: dict[str, Any] = {
    "model": "m",
    "instructions": {"file": "x.md"},
    "expect": "result",
    "isolation": "vm",
    "endpoints": ["npm"],
    "secrets": ["s"],
    "services": ["db"],
    "mounts": [{"volume": "v"}],
    "budget": {"usd": 0},
    "messages": {"broadcast": True},
    "spawn": {"templates": ["t"]},
    "count": 2,
    "state": "suspended",
    "turns": 3,
    "extends": ["x.yaml"],
    "environment": {"image": "i"},
    "volumes": {"v": {}},
    "tasks": {"t": {}},
    "pools": {"t": 1},
}


def unmade(model: type[Any]) -> list[str]:
    fields = model.model_fields.items()
    return [
        yaml_name(model, name) for name, info in fields if any(isinstance(m, Unmade) for m in info.metadata)
    ]


def test_every_field_that_the_plan_does_not_use_is_marked() -> None:
    used = {"template", "harness", "prompt", "resources", "limits"}
    assert set(Agent.model_fields) == used | set(unmade(Agent))
    assert set(AgentSettings.model_fields) == used | set(unmade(AgentSettings))
    assert set(Grove.model_fields) == {"api_version", "name", "repository", "templates", "agents"} | set(
        unmade(Grove)
    )
    assert unmade(Limits) == ["turns"]


@pytest.mark.parametrize("field", [*unmade(Agent), "turns"])
def test_what_agents_ask_for_and_is_not_built_is_listed(field: str) -> None:
    body: dict[str, Any] = {"harness": "shell", "prompt": "x"}
    path = "agents.a.limits.turns" if field == "turns" else f"agents.a.{field}"
    (body.setdefault("limits", {}) if field == "turns" else body)[field] = VALUES[field]
    made = make(yaml.safe_dump({"agents": {"a": body}}))
    (item,) = made.unbuilt
    assert (item.field, item.file) == (path, "g.yaml")
    assert item.line is not None
    assert item.feature
    assert made.agents[0].unbuilt == (path,)


@pytest.mark.parametrize("field", unmade(AgentSettings))
def test_what_templates_ask_for_is_listed_where_it_is_written(field: str) -> None:
    grove = {
        "templates": {"t": {field: VALUES[field], "harness": "shell"}, "unused": {field: VALUES[field]}},
        "agents": {"a": {"template": "t", "prompt": "x"}},
    }
    made = make(yaml.safe_dump(grove))
    assert [item.field for item in made.unbuilt] == [f"templates.t.{field}", f"templates.unused.{field}"]
    assert made.agents[0].unbuilt == (f"templates.t.{field}",)


@pytest.mark.parametrize("field", unmade(Grove))
def test_what_the_grove_asks_for_and_is_not_built_is_listed(field: str) -> None:
    value = VALUES[field] if isinstance(VALUES[field], dict) or field == "extends" else {"x": {}}
    grove = {field: value, "agents": {"a": {"harness": "shell", "prompt": "x"}}}
    assert [item.field for item in make(yaml.safe_dump(grove)).unbuilt] == [field]


def test_unbuilt_has_its_place() -> None:
    (item,) = make("agents:\n  a:\n    harness: shell\n    prompt: x\n    count: 3\n").unbuilt
    assert (item.field, item.line, item.column) == ("agents.a.count", 6, 5)


def test_asking_for_what_is_the_default_is_built() -> None:
    made = make(
        "agents: {a: {harness: shell, prompt: x, count: 1, state: running, isolation: container, expect: commit,"
        " endpoints: [], messages: {send: [], broadcast: false}, spawn: {}}}"
    )
    assert made.unbuilt == ()


def test_ten_thousand_agents_and_no_more() -> None:
    agents = "agents:\n" + "".join(f"  a{i}: {{harness: shell, prompt: x}}\n" for i in range(10_001))
    assert problems(agents) == [
        "g.yaml:3:3: agents: the grove has 10001 agents, more than 10000. Split the grove."
    ]
    assert len(make(agents[: agents.rindex("  a")]).agents) == 10_000


def test_long_chain_of_templates() -> None:
    chain = "".join(f"  t{i}: {{template: t{i + 1}}}\n" for i in range(5000))
    made = make(f"templates:\n{chain}  t5000: {{harness: shell}}\nagents: {{a: {{template: t0, prompt: x}}}}")
    assert made.agents[0].harness == "shell"


def test_long_circle_of_templates() -> None:
    chain = "".join(f"  t{i}: {{template: t{(i + 1) % 3000}}}\n" for i in range(3000))
    found = problems(f"templates:\n{chain}agents: {{a: {{harness: shell, prompt: x}}}}")
    assert len(found) == 1
    assert len(found[0]) < 1000


@pytest.mark.parametrize(("text", "cpu"), [("500m", 0.5), (2, 2.0), (0.5, 0.5), ("1500m", 1.5)])
def test_cpu(text: object, cpu: float) -> None:
    assert parse_cpu(text) == cpu


@pytest.mark.parametrize(
    ("text", "memory"),
    [
        ("1Gi", 1024**3),
        ("512Mi", 512 * 1024**2),
        ("1.5Gi", 3 * 1024**3 // 2),
        ("2G", 2 * 10**9),
        (2**30, 2**30),
    ],
)
def test_memory(text: object, memory: int) -> None:
    assert parse_memory(text) == memory
    assert parse_memory(format_memory(memory)) == memory


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("2h", 7200), ("1h30m", 5400), ("1d", 86400), ("1d1s", 86401)]
)
def test_duration(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    "value", ["", "h", "-1s", "1s1h", "1.5h", "1 h", "\uff12h", True, None, [], "367d", "1h\n"]
)
def test_bad_durations(value: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(value)


@pytest.mark.parametrize(
    "value", ["", "m", "-1m", True, None, [], float("nan"), float("inf"), 0, 10**9, "1.5", "5m"]
)
def test_bad_cpus(value: object) -> None:
    with pytest.raises(ValueError, match="CPUs"):
        parse_cpu(value)


@pytest.mark.parametrize(
    "value", ["", "Gi", "-1Gi", True, None, [], 1.5, 0, "1", "0.0000001Gi", "1GiB", "9999Ti", "1gi"]
)
def test_bad_memory(value: object) -> None:
    with pytest.raises(ValueError, match="memory"):
        parse_memory(value)


def test_names() -> None:
    assert branch_name("a-1") == "agents/a-1"
    for bad in ("A", "a/b", "-a", "a-", "a..b", "", "a\n", "broker", "x" * 41, "ä"):
        with pytest.raises(ValueError, match="name"):
            branch_name(bad)
    assert suggest_name("My Shop!") == "my-shop"
    assert suggest_name("...") == "my-grove"
    assert suggest_name("Broker") == "my-grove"
