"""Which harnesses there are, and what they say they need."""

import dataclasses
import json
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from coppice.groves.access import HarnessNeeds
from coppice.groves.errors import InputError, RefusedError
from coppice.groves.plan import AgentPlan, Plan, RepositoryPlan, Unbuilt
from coppice.harnesses import layout, registry, shell
from coppice.harnesses.base import Harness, LaunchSpec, launch_document, run_key
from coppice.harnesses.supervisor import launch as supervisor_launch
from coppice.harnesses.unbuilt import refuse_unbuilt

OAK = AgentPlan(
    name="oak",
    grove="wood",
    harness="shell",
    model=None,
    prompt="echo hi\n",
    branch="agents/oak",
    expect="commit",
)
BASE = "a" * 40


def plan(*agents: AgentPlan, unbuilt: tuple[Unbuilt, ...] = ()) -> Plan:
    return Plan(
        grove="wood", source=Path("/x/grove.yaml"), repository=RepositoryPlan(path=Path("/x"), ref="HEAD"),
        agents=agents, unbuilt=unbuilt,
    )  # fmt: skip


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch):
    """Sets the installed entry points."""

    def install(*found: EntryPoint) -> None:
        registry._all.cache_clear()
        monkeypatch.setattr(registry, "entry_points", lambda group: found if group == registry.GROUP else ())

    yield install
    registry._all.cache_clear()


def test_the_file_s_stem_is_the_name() -> None:
    assert registry.get("shell") is shell.HARNESS
    assert "shell" in registry.names()
    assert not {"base", "registry", "layout", "supervisor", "announced", "unbuilt"} & set(registry.names())
    assert list(registry.names()) == sorted(registry.names())


def test_every_harness_is_one() -> None:
    for name in registry.names():
        harness = registry.get(name)
        assert isinstance(harness, Harness)
        assert harness.name == name
        assert isinstance(harness.needs(), HarnessNeeds)


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(InputError) as caught:
        registry.get("shel")
    assert "'shel'" in caught.value.message
    assert "'shell'" in (caught.value.hint or "")


def test_announced_harnesses_show_their_needs_and_refuse_to_start() -> None:
    expected = {
        "claude": ("api.anthropic.com:443", "ANTHROPIC_API_KEY"),
        "codex": ("api.openai.com:443", "OPENAI_API_KEY"),
        "gemini": ("generativelanguage.googleapis.com:443", "GEMINI_API_KEY"),
        "opencode": ("endpoint:decided-by-model", "endpoint:decided-by-model"),
        "adk": ("endpoint:decided-by-model", "endpoint:decided-by-model"),
    }
    for name, (endpoint, credential) in expected.items():
        needs = registry.get(name).needs()
        if needs.built:
            continue  # it has its own file by now
        assert (needs.endpoints, needs.credentials) == ((endpoint,), (credential,))
        with pytest.raises(RefusedError) as caught:
            registry.get(name).launch(dataclasses.replace(OAK, harness=name))
        assert name in caught.value.message
        assert "oak" in caught.value.message
        assert "shell" in (caught.value.hint or "")


def test_an_outside_harness_comes_by_entry_point(entries) -> None:
    entries(EntryPoint("oaken", f"{__name__}:OAKEN", registry.GROUP))
    assert registry.get("oaken") is OAKEN
    assert "oaken" in registry.names()


@pytest.mark.parametrize(
    ("name", "message"),
    [("shell", "Coppice has a harness of that name"), ("other", "is no harness named other")],
)
def test_an_outside_harness_may_not_pass_for_another(entries, name: str, message: str) -> None:
    entries(EntryPoint(name, f"{__name__}:OAKEN", registry.GROUP))
    with pytest.raises(RefusedError, match=message):
        registry.names()


def test_the_shell_harness_needs_nothing_and_runs_the_prompt() -> None:
    assert shell.HARNESS.needs() == HarnessNeeds(endpoints=(), credentials=(), built=True)
    spec = shell.HARNESS.launch(OAK)
    assert spec.argv == ("bash", "-euo", "pipefail", "/run/coppice/files/prompt")
    assert spec.files == {"prompt": "echo hi\n"}


def test_the_launch_document_is_what_the_supervisor_reads(tmp_path: Path) -> None:
    spec = shell.HARNESS.launch(OAK)
    document = launch_document(OAK, spec, BASE, run_key(OAK, spec))
    (tmp_path / "launch.json").write_text(json.dumps(document))
    read = supervisor_launch.load(tmp_path / "launch.json")
    assert read.argv == spec.argv
    assert (read.agent, read.grove, read.branch, read.base) == ("oak", "wood", "agents/oak", BASE)
    assert (read.duration, read.expect, str(read.workdir)) == (OAK.duration, "commit", layout.WORKSPACE)


def test_what_makes_a_new_run() -> None:
    key = run_key(OAK, shell.HARNESS.launch(OAK))
    assert len(key) == 64
    assert run_key(OAK, shell.HARNESS.launch(OAK)) == key

    def changed(**fields: object) -> str:
        agent = dataclasses.replace(OAK, **fields)
        return run_key(agent, shell.HARNESS.launch(agent))

    assert changed(prompt="echo ho\n") != key
    assert changed(expect="none") != key
    assert changed(harness="other") != key
    assert changed(duration=1) == key, "another limit does not undo what is done"
    spec = shell.HARNESS.launch(OAK)
    assert run_key(OAK, dataclasses.replace(spec, env={"A": "b"})) != key
    assert run_key(OAK, dataclasses.replace(spec, files={**spec.files, "x": ""})) != key


@pytest.mark.parametrize("path", ["", ".", "/etc/passwd", "../x", "a/../b", "a//b", "a/", "./a", "a\0b"])
def test_files_stay_in_their_folder(path: str) -> None:
    with pytest.raises(ValueError, match="files"):
        LaunchSpec(image="i", argv=("true",), files={path: ""})


def test_a_launch_spec_names_a_program_and_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="argv"):
        LaunchSpec(image="i", argv=())
    spec = LaunchSpec(image="i", argv=("true",), env={"A": "b"})
    with pytest.raises(TypeError):
        spec.env["A"] = "c"  # type: ignore[index]


def test_what_is_not_built_is_refused_all_at_once() -> None:
    refuse_unbuilt(plan(OAK))
    field = Unbuilt(field="agents.oak.budget", feature="budgets", file="grove.yaml", line=7, column=3)
    opencode = dataclasses.replace(OAK, name="elm", harness="opencode")
    with pytest.raises(RefusedError) as caught:
        refuse_unbuilt(plan(OAK, opencode, unbuilt=(field,)))
    assert "grove.yaml:7: agents.oak.budget: budgets" in caught.value.message
    assert "agents.elm.harness: opencode" in caught.value.message


def test_the_supervisor_imports_the_standard_library_alone() -> None:
    code = (
        "import runpy, sys; sys.argv = ['x', '--help']\n"
        "try: runpy.run_path(sys.path.pop(), run_name='__main__')\n"
        "except SystemExit: pass\n"
        "from pathlib import Path\n"
        "names = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(names - set(sys.stdlib_module_names) - {'__main__', '_distutils_hack', 'coppice_supervisor'}))\n"
    )
    folder = Path(registry.__file__).parent / "supervisor"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({str(folder)!r})\n{code}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"


class Oaken:
    name = "oaken"

    def needs(self) -> HarnessNeeds:
        return HarnessNeeds()

    def launch(self, agent: AgentPlan) -> LaunchSpec:
        return LaunchSpec(image="oaken", argv=("oaken",))


OAKEN = Oaken()
