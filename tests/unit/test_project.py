"""Which project, grove and stack a command means."""

from pathlib import Path

import pytest

from coppice.groves.errors import CoppiceError, InputError
from coppice.stacks import project
from coppice.stacks.project import check_project, find_root, grove_file, place, target

PROJECT = "name: mine\nmain: program.py\nconfig: {grove: {type: string}}\n"
GROVE = "apiVersion: coppice.dev/v1\nagents: {a: {harness: shell, prompt: x}}\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with no grove yet, as the working directory."""
    path = tmp_path / "mine"
    (path / "groves").mkdir(parents=True)
    make_project(path)
    monkeypatch.chdir(path)
    return path


def make_project(folder: Path) -> None:
    (folder / "Pulumi.yaml").write_text(PROJECT)
    (folder / "program.py").write_text("")


def put(path: Path, text: str = GROVE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_root_is_the_nearest_folder_with_a_project(here: Path) -> None:
    below = here / "a" / "b"
    below.mkdir(parents=True)
    assert find_root(below) == here
    make_project(here / "a")
    assert find_root(below) == here / "a"
    # A folder of that name is no project.
    (below / "Pulumi.yaml").mkdir()
    assert find_root(below) == here / "a"


def test_no_project(tmp_path: Path) -> None:
    with pytest.raises(CoppiceError, match=r"no Pulumi\.yaml in") as caught:
        find_root(tmp_path)
    assert caught.value.exit_code == 2
    assert "coppice init" in str(caught.value.hint)


def test_the_project_has_a_name(here: Path) -> None:
    assert check_project(here) == "mine"


@pytest.mark.parametrize(
    "text", ["name: mine\nruntime: python\n", "- x\n", "", "config: [grove]\n", "config: {x: 1}\n"]
)
def test_a_pulumi_project_of_another_kind_is_never_run(here: Path, text: str) -> None:
    (here / "Pulumi.yaml").write_text(text)
    for call in (lambda: find_root(here), lambda: target(str(put(here / "grove.yaml")), None)):
        with pytest.raises(CoppiceError, match="of another kind") as caught:
            call()
        assert caught.value.exit_code == 2
        assert "coppice init FOLDER" in str(caught.value.hint)


def test_a_program_that_is_missing_is_named(here: Path) -> None:
    (here / "program.py").unlink()
    with pytest.raises(CoppiceError, match=r"is missing: .*/mine/program\.py") as caught:
        find_root(here)
    assert "coppice init" in str(caught.value.hint)


def test_a_stack_is_found_without_its_grove_file(here: Path) -> None:
    put(here / "grove.yaml", "agents: [")
    assert place(None, "dev") == (here, "dev", None)
    with pytest.raises(InputError) as caught:
        place(None, None)
    assert "-s STACK" in str(caught.value.hint)
    assert caught.value.problems


@pytest.mark.parametrize("stack", ["a b", "x/y/z", "../../x", "Dev", "grove.agent", "broker"])
def test_a_stack_that_cannot_be_is_refused_before_the_engine_is_asked(here: Path, stack: str) -> None:
    put(here / "grove.yaml")
    for call in (target, place):
        with pytest.raises(CoppiceError, match="-s: ") as caught:
            call(None, stack)
        assert caught.value.exit_code == 2


@pytest.mark.parametrize("text", [b"name: [", b"\xff\xfe\x00", b"a: b: c"])
def test_a_project_file_that_is_no_yaml(here: Path, text: bytes) -> None:
    (here / "Pulumi.yaml").write_bytes(text)
    with pytest.raises(CoppiceError, match=r"Pulumi\.yaml is not YAML") as caught:
        check_project(here)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("place", ["grove.yaml", "grove.yml", "groves/x.yaml", "groves/x.yml"])
def test_the_only_grove_needs_no_name(here: Path, place: str) -> None:
    path = put(here / place)
    below = here / "deep"
    below.mkdir()
    assert grove_file(None) == path
    assert grove_file(None, below) == path
    assert target(None, "s").words == " -s s"


def test_none_or_many_need_one(here: Path) -> None:
    with pytest.raises(CoppiceError, match="has 0") as caught:
        grove_file(None)
    assert "coppice init" in str(caught.value.hint)
    put(here / "grove.yaml")
    put(here / "groves" / "other.yaml")
    with pytest.raises(CoppiceError, match=r"has 2: grove\.yaml, groves/other\.yaml") as caught:
        grove_file(None)
    assert caught.value.exit_code == 2
    assert target("other", None).words == " -g other"


def test_a_grove_by_name_and_by_path(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(here / "groves" / "shop.yaml")
    assert grove_file("shop") == path
    assert grove_file("groves/shop.yaml") == path
    assert grove_file(str(path)) == path
    monkeypatch.chdir(here / "groves")
    assert grove_file("shop.yaml") == path
    assert grove_file("./shop.yaml") == path
    assert grove_file("shop") == path
    with pytest.raises(InputError, match="there is no grove 'shopp'") as caught:
        grove_file("shopp")
    assert "shop" in str(caught.value.hint)


def test_a_file_that_has_a_grove_s_name_is_not_that_grove(here: Path) -> None:
    path = put(here / "groves" / "shop.yaml")
    (here / "shop").write_text("a program")
    assert grove_file("shop") == path


def test_the_stack_is_the_grove_s_name_unless_given(here: Path) -> None:
    put(here / "groves" / "shop.yaml")
    found = target("shop", None)
    assert (found.root, found.stack, found.plan.grove) == (here, "shop", "shop")
    assert target("shop", "night").stack == "night"


def test_the_project_of_a_grove_elsewhere_is_its_own(
    here: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    make_project(other)
    path = put(other / "grove.yaml", GROVE + "name: there\n")
    assert target(str(path), None).root == other
    (other / "Pulumi.yaml").unlink()
    with pytest.raises(CoppiceError, match=r"no Pulumi\.yaml"):
        target(str(path), None)


def test_a_wrong_grove_file(here: Path) -> None:
    put(here / "grove.yaml", "apiVersion: coppice.dev/v1\nagents: {a: {harness: shell, promt: x}}\n")
    with pytest.raises(InputError) as caught:
        target(None, None)
    assert caught.value.problems


def test_the_setting_is_there_only_where_the_stack_s_name_does_not_find_the_file(here: Path) -> None:
    put(here / "groves" / "shop.yaml")
    assert target("shop", None).grove_setting is None
    assert target("groves/shop.yaml", None).grove_setting is None
    assert target("shop", "night").grove_setting == "groves/shop.yaml"
    put(here / "groves" / "night.yaml")
    assert target("shop", "night").grove_setting == "groves/shop.yaml"
    put(here / "deep" / "own.yaml")
    assert target("deep/own.yaml", None).grove_setting == "deep/own.yaml"


def test_the_setting_of_a_grove_that_is_a_link(here: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = put(tmp_path_factory.mktemp("elsewhere") / "real.yaml", GROVE + "name: linked\n")
    (here / "groves" / "link.yaml").symlink_to(elsewhere)
    found = target("link", None)
    assert found.stack == "linked"
    assert found.grove_setting == "groves/link.yaml"


def test_the_setting_leads_back_to_the_file(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program looks it up from another working directory."""
    path = put(here / "deep" / "own.yaml")
    setting = target("deep/own.yaml", "s").grove_setting
    (here / ".coppice").mkdir()
    monkeypatch.chdir(here / ".coppice")
    assert setting is not None
    assert project.find_grove(setting, here).resolve() == path
