"""The wheel: the whole tree once, below one package, with its data, and nothing else."""

import configparser
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PARTS = ("components", "groves", "harnesses", "policies", "stacks")
DATA = {".py", ".yaml", ".json"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def _content(wheel: zipfile.ZipFile) -> list[str]:
    return [name for name in wheel.namelist() if ".dist-info/" not in name]


def test_every_file_of_the_tree_is_in_it_once_and_nothing_else(wheel: zipfile.ZipFile, root: Path) -> None:
    names = _content(wheel)
    assert len(names) == len(set(names))
    expected = {"coppice/__init__.py"}
    for part in PARTS:
        for path in (root / part).rglob("*"):
            if path.is_file() and path.suffix in DATA:
                expected.add(f"coppice/{path.relative_to(root).as_posix()}")
    assert set(names) == expected


def test_no_generic_name_is_taken(wheel: zipfile.ZipFile) -> None:
    assert {name.partition("/")[0] for name in _content(wheel)} == {"coppice"}
    assert not {name.split("/")[1] for name in _content(wheel)} - {*PARTS, "__init__.py"}


@pytest.mark.parametrize(
    "name",
    [
        "groves/schema.json",
        "groves/examples/hello.yaml",
        "harnesses/supervisor/__main__.py",
        "components/plugin/__main__.py",
        "policies/PulumiPolicy.yaml",
        "policies/rules/boxes.py",
        "stacks/__main__.py",
    ],
)
def test_what_is_read_at_run_time_is_in_it_as_it_is(wheel: zipfile.ZipFile, root: Path, name: str) -> None:
    assert wheel.read(f"coppice/{name}") == (root / name).read_bytes()


def test_every_folder_with_modules_is_a_package(wheel: zipfile.ZipFile) -> None:
    names = set(_content(wheel))
    folders = {name.rpartition("/")[0] for name in names if name.endswith(".py")}
    assert not [folder for folder in folders if f"{folder}/__init__.py" not in names]


def test_the_command_is_there(wheel: zipfile.ZipFile) -> None:
    (path,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    parser = configparser.ConfigParser()
    parser.read_string(wheel.read(path).decode())
    assert dict(parser["console_scripts"]) == {"coppice": "coppice.stacks.cli.main:run"}
    module = parser["console_scripts"]["coppice"].partition(":")[0]
    assert f"{module.replace('.', '/')}.py" in wheel.namelist()


def test_the_version_is_the_project_s(wheel: zipfile.ZipFile, root: Path) -> None:
    (path,) = [name for name in wheel.namelist() if name.endswith("METADATA")]
    (line,) = [line for line in wheel.read(path).decode().splitlines() if line.startswith("Version: ")]
    assert f'version = "{line.removeprefix("Version: ")}"' in (root / "pyproject.toml").read_text()
