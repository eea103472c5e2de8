"""`coppice init`: files that make a repository a project, and nothing overwritten."""

import ast
import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from coppice.groves.errors import CoppiceError
from coppice.groves.load import load_grove
from coppice.groves.plan import plan
from coppice.harnesses import registry
from coppice.stacks.project import check_project, target
from coppice.stacks.scaffold import scaffold
from tests.conftest import Git

FILES = ["grove.yaml", "Pulumi.yaml", ".coppice/program.py"]


def test_the_files_of_a_project(repository: Path) -> None:
    made = scaffold(repository, "shop")
    assert (made.root, made.project, made.written, made.kept) == (repository, "shop", FILES, [])
    assert sorted(p.name for p in repository.iterdir()) == [
        ".coppice",
        ".git",
        "Pulumi.yaml",
        "README.md",
        "grove.yaml",
    ]


def test_from_a_folder_of_the_work_tree(repository: Path) -> None:
    below = repository / "src" / "deep"
    below.mkdir(parents=True)
    assert scaffold(below, "shop").root == repository
    assert (repository / "grove.yaml").is_file()


def test_nothing_is_overwritten(repository: Path, tmp_path: Path) -> None:
    mine = "name: mine\nconfig: {grove: {type: string}}\n"
    (repository / "Pulumi.yaml").write_text(mine)
    outside = tmp_path / "outside"
    (repository / "grove.yaml").symlink_to(outside)
    made = scaffold(repository, "shop")
    assert (made.written, made.kept) == ([".coppice/program.py"], ["grove.yaml", "Pulumi.yaml"])
    assert (repository / "Pulumi.yaml").read_text() == mine
    assert not outside.exists()
    again = scaffold(repository, "shop")
    assert (again.written, again.kept) == ([], FILES)


def test_a_project_of_another_kind_is_left_alone_and_a_folder_of_its_own_serves(repository: Path) -> None:
    (repository / "Pulumi.yaml").write_text("name: mine\nruntime: python\n")
    with pytest.raises(CoppiceError, match="of another kind"):
        scaffold(repository, None)
    assert not (repository / "grove.yaml").exists()
    made = scaffold(repository / "ops" / "groves-of-ours", None, here=True)
    assert (made.root, made.project) == (repository / "ops" / "groves-of-ours", "groves-of-ours")
    assert check_project(made.root) == "groves-of-ours"


def test_a_file_in_the_way_is_named_before_anything_is_written(repository: Path) -> None:
    (repository / ".coppice").write_text("")
    with pytest.raises(CoppiceError, match=r"\.coppice is a file"):
        scaffold(repository, None)
    assert not (repository / "grove.yaml").exists()


@pytest.mark.parametrize(
    "name", [None, "shop", "a", "2026", "null", "true", "no", "1e3", "2026-01-02", "0x1"]
)
def test_what_is_written_loads_and_plans(
    repository: Path, name: str | None, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    made = scaffold(repository, name)
    assert made.project == (name or "repository")
    source = repository / "grove.yaml"
    grove = load_grove(source)
    planned = plan(grove, source=source)
    assert planned.grove == made.project
    assert planned.unbuilt == ()
    assert planned.repository.path == repository
    (agent,) = planned.agents
    assert agent.expect == "commit"
    assert registry.get(agent.harness).needs().built
    assert "'s/$/ files/'" in agent.prompt

    project = yaml.safe_load((repository / "Pulumi.yaml").read_text())
    assert project["name"] == made.project
    assert project["runtime"]["name"] == "python"
    assert (repository / project["main"]).is_file()
    own = yaml.safe_load((root / "Pulumi.yaml").read_text())
    assert project["requiredPulumiVersion"] == own["requiredPulumiVersion"]
    assert project["config"] == own["config"]
    assert check_project(repository) == made.project

    monkeypatch.chdir(repository)
    found = target(None, None)
    assert (found.stack, found.grove_setting) == (made.project, None)


def test_the_grove_is_valid_by_the_schema_and_the_program_is_python(repository: Path, root: Path) -> None:
    scaffold(repository, "shop")
    schema = json.loads((root / "groves" / "schema.json").read_text())
    jsonschema.validate(yaml.safe_load((repository / "grove.yaml").read_text()), schema)
    program = ast.parse((repository / ".coppice" / "program.py").read_text())
    assert ast.get_docstring(program)
    own = ast.parse((root / "stacks" / "__main__.py").read_text())
    assert [ast.dump(node) for node in program.body[1:]] == [ast.dump(node) for node in own.body[1:]]


def test_the_default_name_is_made_of_the_folder_s(tmp_path: Path, git: Git) -> None:
    folder = tmp_path / "My Café_2.0!"
    folder.mkdir()
    git(folder, "init", "-q")
    assert scaffold(folder, None).project == "my-caf-2-0"
    other = tmp_path / "___"
    other.mkdir()
    git(other, "init", "-q")
    assert scaffold(other, None).project == "grove"


@pytest.mark.parametrize(
    "name", ["", "Shop", "a b", "a.b", "-a", "a-", "x" * 41, "coppice", "a\nb: c", "../x", "$project"]
)
def test_a_name_that_cannot_be(repository: Path, name: str) -> None:
    with pytest.raises(CoppiceError, match=r"^--name: ") as caught:
        scaffold(repository, name)
    assert caught.value.exit_code == 2
    assert caught.value.hint
    assert not (repository / "grove.yaml").exists()


def test_no_repository(tmp_path: Path) -> None:
    with pytest.raises(CoppiceError, match="is not in a git repository") as caught:
        scaffold(tmp_path, "shop")
    assert caught.value.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_bare_repository(tmp_path: Path, git: Git) -> None:
    git(tmp_path, "init", "-q", "--bare", "bare.git")
    before = sorted((tmp_path / "bare.git").rglob("*"))
    with pytest.raises(CoppiceError, match="is a bare repository") as caught:
        scaffold(tmp_path / "bare.git", "shop")
    assert caught.value.exit_code == 2
    assert sorted((tmp_path / "bare.git").rglob("*")) == before
