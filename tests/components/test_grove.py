"""The components against a mocked engine: what a grove registers, and how hard its boxes are."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
import pytest

import coppice
from coppice.components import images
from coppice.components.grove import Grove
from coppice.components.runtimes.docker import daemon
from coppice.components.runtimes.docker.resources import DockerRuntime
from coppice.groves.errors import CoppiceError, InputError, RefusedError
from coppice.groves.load import load_grove, parse_grove
from coppice.groves.plan import Plan, plan
from tests.components import mocked
from tests.components.mocked import CONTAINER, VOLUME, Graph, Registered
from tests.conftest import Git

GOLDEN = Path(__file__).parent / "golden"
HOST = "unix:///somewhere/docker.sock"
TOKENS = {
    "coppice:docker:BoxFiles",
    "coppice:docker:Image",
    "coppice:docker:Mirror",
    "coppice:docker:Power",
    "coppice:docker:Workspace",
    "coppice:grove:Agent",
    "coppice:grove:Grove",
    "docker:index/container:Container",
    "docker:index/volume:Volume",
    "pulumi:providers:coppice",
    "pulumi:providers:docker",
    "pulumi:pulumi:Stack",
}


def example(root: Path, repository: Path, name: str = "hello") -> Plan:
    """Plan an example as if its file were in a repository of the test's own."""
    text = (root / "groves" / "examples" / f"{name}.yaml").read_bytes()
    return plan(parse_grove(text, f"{name}.yaml"), source=repository / f"{name}.yaml")


def provision(made: Plan, **options: Any) -> Graph:
    return mocked.run(lambda: Grove(made.grove, made, DockerRuntime(HOST)), **options)


def written(repository: Path, text: str) -> Plan:
    source = repository / "grove.yaml"
    source.write_text(f"apiVersion: coppice.dev/v1\nname: hello\n{text}")
    return plan(load_grove(source), source=source)


@pytest.fixture
def hello(root: Path, repository: Path) -> Graph:
    return provision(example(root, repository))


def _names(urns: Any) -> list[str]:
    return sorted({f"{urn.split('::')[2].rpartition('$')[2]} {urn.rpartition('::')[2]}" for urn in urns})


def _seen(graph: Graph, base: str, repository: Path) -> list[dict[str, Any]]:
    """Return the graph as data that is the same on every machine and for every supervisor."""
    runs = [r.inputs["run"] for r in graph.of("coppice:docker:Power")]
    resources = []
    for found in sorted(graph.resources, key=lambda r: (r.token, r.name)):
        request = found.request
        resources.append(
            {
                "type": found.token,
                "name": found.name,
                "parent": found.parent,
                "provider": found.provider,
                "dependsOn": _names(request.dependencies),
                "ignoreChanges": sorted(request.ignoreChanges),
                "deleteBeforeReplace": request.deleteBeforeReplace
                if request.deleteBeforeReplaceDefined
                else None,
                "protect": request.protect,
                "inputs": found.inputs,
            }
        )
    text = json.dumps(resources)
    replaced = {base: "<base>", str(repository): "<repository>", images.source_digest(): "<source>"}
    replaced |= {run: f"<run {index}>" for index, run in enumerate(runs)}
    for value, name in replaced.items():
        text = text.replace(value, name)
    return json.loads(text)


def test_the_graph_of_hello(
    hello: Graph, repository: Path, git: Git, golden: Callable[[Path, Any], None]
) -> None:
    base = git(repository, "rev-parse", "HEAD")
    golden(GOLDEN / "hello.graph.json", _seen(hello, base, repository))


def test_type_tokens_are_these_and_no_others(hello: Graph) -> None:
    """A renamed token orphans what stands: it takes an alias and a line here."""
    assert {found.token for found in hello.resources} == TOKENS


def test_every_agent_has_the_same_resources_of_its_own(hello: Graph) -> None:
    agents = hello.of("coppice:grove:Agent")
    assert [agent.name for agent in agents] == ["hello-census", "hello-inventory"]
    for agent in agents:
        kinds = sorted(f"{child.token} {child.name}" for child in hello.children(agent.urn))
        name = agent.name
        assert kinds == [
            f"coppice:docker:BoxFiles {name}-files",
            f"coppice:docker:Power {name}-power",
            f"coppice:docker:Workspace {name}-workspace",
            f"docker:index/container:Container {name}",
            f"docker:index/volume:Volume {name}-files",
            f"docker:index/volume:Volume {name}-workspace",
        ]


def test_every_child_is_below_its_component(hello: Graph) -> None:
    for found in hello.resources:
        match found.token:
            case mocked.ROOT:
                assert not found.request.parent
            case "coppice:grove:Grove":
                assert found.parent_token == mocked.ROOT
            case _:
                assert found.parent_token in {"coppice:grove:Grove", "coppice:grove:Agent"}, found.urn


def test_every_provider_is_explicit_and_bound_to_the_daemon(hello: Graph) -> None:
    for found in hello.resources:
        if found.token.startswith("docker:"):
            assert found.provider == "hello-docker", found.urn
        if found.token.startswith("coppice:docker:"):
            assert found.provider == "hello-coppice", found.urn
            assert found.request.version == "0.1.0"
    assert hello.one("pulumi:providers:docker", "hello-docker").inputs == {"host": HOST}
    assert hello.one("pulumi:providers:coppice", "hello-coppice").inputs == {"dockerHost": HOST}


def _box(graph: Graph, agent: str = "census") -> Registered:
    return graph.one(CONTAINER, f"hello-{agent}")


def test_a_box_is_hardened(hello: Graph) -> None:
    box = _box(hello).inputs
    assert box["privileged"] is False
    assert box["readOnly"] is True
    assert box["capabilities"] == {"drops": ["ALL"]}
    assert box["securityOpts"] == ["no-new-privileges:true"]
    assert box["user"] == "1000:1000"
    assert box["networkMode"] == "none"
    assert box["ipcMode"] == "private"
    assert box["restart"] == "no"
    assert box["mustRun"] is False
    assert box["start"] is False
    assert box["memory"] == 512
    assert box["memorySwap"] == 512
    assert (box["cpuPeriod"], box["cpuQuota"]) == (100_000, 100_000)
    assert box["shmSize"] == 51
    assert box["logDriver"] == "json-file"
    assert box["logOpts"] == {"max-size": "128m", "max-file": "2"}
    assert box["tmpfs"] == {
        "/tmp": "rw,nosuid,nodev,exec,mode=1777,size=214748364",
        "/home/agent": "rw,nosuid,nodev,exec,uid=1000,gid=1000,mode=0700,size=107374182",
    }
    assert box["mounts"] == [
        {"type": "volume", "source": "hello-census-workspace-1234567", "target": "/workspace"},
        {
            "type": "volume",
            "source": "hello-mirror-1234567",
            "target": "/var/lib/coppice/mirror",
            "readOnly": True,
        },
        {
            "type": "volume",
            "source": "hello-census-files-1234567",
            "target": "/run/coppice",
            "readOnly": True,
        },
    ]


def test_a_box_has_no_other_way_out(hello: Graph) -> None:
    forbidden = {
        "attach", "cgroupParent", "cgroupnsMode", "cpus", "deviceCgroupRules", "deviceRequests", "devices", "dns",
        "envs", "gpus", "groupAdds", "hosts", "links", "name", "networksAdvanced", "pidMode", "ports",
        "publishAllPorts", "runtime", "stdinOpen", "sysctls", "tty", "uploads", "usernsMode", "volumes",
    }  # fmt: skip
    for box in hello.of(CONTAINER):
        assert not forbidden & box.inputs.keys()


def test_no_box_mounts_what_belongs_to_another(hello: Graph) -> None:
    sources = {
        agent: {mount["source"] for mount in _box(hello, agent).inputs["mounts"]}
        for agent in ("census", "inventory")
    }
    assert sources["census"] & sources["inventory"] == {"hello-mirror-1234567"}


def test_limits_reach_the_box(repository: Path) -> None:
    made = written(
        repository,
        "agents: {a: {harness: shell, prompt: x, resources: {cpu: 0.25, memory: 1536Mi, pids: 7}}}\n",
    )
    graph = provision(made)
    box = graph.one(CONTAINER, "hello-a").inputs
    assert (box["memory"], box["memorySwap"], box["cpuQuota"]) == (1536, 1536, 25_000)
    assert graph.one("coppice:docker:Power", "hello-a-power").inputs["pids"] == 7


def test_volumes_have_nothing_that_could_change(hello: Graph) -> None:
    """A volume whose label or option changes is replaced, and its content with it."""
    assert len(hello.of(VOLUME)) == 5
    for volume in hello.of(VOLUME):
        assert volume.inputs == {}
        assert sorted(volume.request.ignoreChanges) == ["driver", "driverOpts", "labels", "name"]


def test_a_box_is_made_before_the_one_it_replaces_goes(hello: Graph) -> None:
    for box in hello.of(CONTAINER):
        assert box.request.deleteBeforeReplaceDefined
        assert box.request.deleteBeforeReplace is False
        assert "name" not in box.inputs


def test_power_waits_for_files_and_workspace(hello: Graph) -> None:
    power = hello.one("coppice:docker:Power", "hello-census-power")
    assert _names(power.request.dependencies) == [
        "coppice:docker:BoxFiles hello-census-files",
        "coppice:docker:Workspace hello-census-workspace",
        "docker:index/container:Container hello-census",
    ]


def test_the_launch_document_is_of_the_base_that_the_workspace_kept(
    hello: Graph, repository: Path, git: Git
) -> None:
    files = hello.one("coppice:docker:BoxFiles", "hello-census-files").inputs["files"]
    document = json.loads(files["launch.json"])
    assert document["base"] == git(repository, "rev-parse", "HEAD")
    assert document["branch"] == "agents/census"
    assert document["run"] == hello.one("coppice:docker:Power", "hello-census-power").inputs["run"]
    assert sorted(files) == ["files/prompt", "launch.json"]


def test_access_is_an_input_of_the_components(hello: Graph) -> None:
    """Policies judge it there, before a child is made."""
    grove = hello.one("coppice:grove:Grove", "hello").inputs
    agents = {agent.inputs["agent"]: agent.inputs for agent in hello.of("coppice:grove:Agent")}
    assert [access["agent"] for access in grove["access"]] == ["census", "inventory"]
    assert grove["access"] == [agents["census"]["access"], agents["inventory"]["access"]]
    assert agents["census"]["access"]["network"] == []


def test_outputs_find_each_agent(hello: Graph, repository: Path, git: Git) -> None:
    (grove,) = hello.of("coppice:grove:Grove")
    assert hello.outputs[grove.urn]["agents"]["census"] == {
        "box": "hello-census-id",
        "base": git(repository, "rev-parse", "HEAD"),
        "branch": "agents/census",
        "ended": "",
    }


def test_what_is_not_built_is_shown_at_preview_and_refused_at_up(repository: Path) -> None:
    made = written(repository, "agents: {a: {harness: shell, prompt: x, count: 2}}\n")
    assert made.unbuilt
    assert provision(made, preview=True).of(CONTAINER)
    graph = Graph()
    with pytest.raises(RefusedError, match=r"agents\.a\.count"):
        provision(made, graph=graph)
    assert {found.token for found in graph.resources} == {mocked.ROOT}


def test_a_harness_that_is_not_built_has_no_box(repository: Path) -> None:
    made = written(repository, "agents: {a: {harness: claude, prompt: x}, b: {harness: shell, prompt: x}}\n")
    graph = provision(made, preview=True)
    assert [box.name for box in graph.of(CONTAINER)] == ["hello-b"]
    assert [agent.name for agent in graph.of("coppice:grove:Agent")] == ["hello-b"]
    assert graph.warnings == ["harness claude is not built yet: `up` refuses agent a"]
    with pytest.raises(RefusedError, match=r"agents\.a\.harness: claude"):
        provision(made)


def test_an_unknown_harness(repository: Path) -> None:
    made = written(repository, "agents: {a: {harness: shel, prompt: x}}\n")
    with pytest.raises(InputError, match="there is no harness 'shel'") as caught:
        provision(made, preview=True)
    assert "shell" in str(caught.value.hint)


def test_a_repository_without_commits(tmp_path: Path, git: Git) -> None:
    git(tmp_path, "init", "-q")
    made = written(tmp_path, "agents: {a: {harness: shell, prompt: x}}\n")
    with pytest.raises(CoppiceError, match="has no commit yet") as caught:
        provision(made, preview=True)
    assert caught.value.exit_code == 2


def _from_config(root: Path, **options: Any) -> Graph:
    return mocked.run(coppice.Grove.from_config, root=root, **options)


@pytest.fixture
def daemon_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "find", lambda: daemon.Daemon(HOST, "a test"))


@pytest.mark.usefixtures("daemon_found")
def test_the_stack_names_the_grove(repository: Path) -> None:
    written(repository, "agents: {a: {harness: shell, prompt: x}}\n")
    graph = _from_config(repository, config={"coppice:grove": "grove.yaml"}, stack="other")
    assert graph.stack_outputs["grove"] == "hello"
    assert graph.stack_outputs["agents"]["a"]["box"] == "hello-a-id"
    assert {label["label"]: label["value"] for label in _box(graph, "a").inputs["labels"]} == {
        "coppice.dev/project": "coppice",
        "coppice.dev/stack": "other",
        "coppice.dev/grove": "hello",
        "coppice.dev/agent": "a",
    }
    # Without the setting it is the grove called like the stack.
    assert _from_config(repository, stack="hello").stack_outputs["grove"] == "hello"


@pytest.mark.usefixtures("daemon_found")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "grove.yaml"),
        ("agents: {a: {harness: shel, prompt: x}}\n", "there is no harness 'shel'"),
        ("agents: {a: {harness: shell}}\n", "the agent has no prompt"),
        ("agents: {a: {harness: claude, prompt: x}}\n", "not built yet"),
        ("repository: {ref: no-such}\nagents: {a: {harness: shell, prompt: x}}\n", "no commit 'no-such'"),
    ],
)
def test_every_error_of_ours_is_a_run_error(repository: Path, text: str | None, said: str) -> None:
    """The engine prints a RunError as it is; any other exception comes with a traceback."""
    if text is not None:
        (repository / "grove.yaml").write_text(f"apiVersion: coppice.dev/v1\nname: hello\n{text}")
    graph = Graph()
    with pytest.raises(pulumi.RunError, match=said) as caught:
        _from_config(repository, config={"coppice:grove": "grove.yaml"}, graph=graph)
    assert "Traceback" not in str(caught.value)
    assert not graph.of(CONTAINER)


def test_no_daemon_is_a_run_error(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{repository}/no.sock")
    written(repository, "agents: {a: {harness: shell, prompt: x}}\n")
    with pytest.raises(pulumi.RunError, match="does not answer"):
        _from_config(repository, config={"coppice:grove": "grove.yaml"})
