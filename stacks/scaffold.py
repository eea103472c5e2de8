"""The files that make a repository a project of groves."""

from dataclasses import dataclass
from pathlib import Path
from string import Template

import yaml

from coppice.components import repository
from coppice.groves.errors import CoppiceError
from coppice.groves.naming import name_problem, suggest_name
from coppice.stacks.project import check_kind

_PROJECT = Template("""\
# A Pulumi project: `pulumi up` here provisions a grove of coding agents; `coppice up` does the same.
name: $project
description: Groves of coding agents for this repository
# The program: two lines, see .coppice/program.py. It is in a folder of its own so that no package of this
# repository is imported in place of a Python module.
main: .coppice/program.py
runtime:
  name: python
  options:
    toolchain: pip
    # The Python environment that has coppice; without this line the activated one is used.
    # virtualenv: .venv
requiredPulumiVersion: ">=3.256.0 <4.0.0"
config:
  grove:
    type: string
    description: Path of the grove file below this folder, or a grove's name; by default the stack's name
    default: ""
""")

_PROGRAM_PATH = ".coppice/program.py"
_PROGRAM = '''\
"""What `pulumi up` runs: provision the grove file that the stack names."""

import coppice

coppice.Grove.from_config()
'''

_GROVE = Template("""\
# A grove: which agents exist, and what each may touch. Five lines are enough; `coppice show` prints the rest.
# The agents work on this repository at HEAD, each in a box of its own with no network, and each on a branch
# of its own: agents/<name>.
apiVersion: coppice.dev/v1
name: $project
agents:
  scribe:
    harness: shell   # any command is an agent: the prompt is a bash script
    prompt: |
      git ls-files | wc -l | sed 's/$$/ files/' > FILES.txt
      git add FILES.txt
      git commit -m "Count the files"
    expect: commit   # what counts as done: commit or none
    # resources: {cpu: 1, memory: 1Gi, pids: 256}
    # limits: {duration: 2h}
""")


@dataclass(frozen=True)
class Scaffolded:
    """What was written, and what was there already; paths relative to `root`."""

    root: Path
    project: str
    written: list[str]
    kept: list[str]


def _project_name(folder: Path, name: str | None) -> str:
    if name is None:
        return suggest_name(folder.name, "grove")
    problem = name_problem(name, "project")
    if problem is not None:
        message, remedy = problem
        raise CoppiceError(f"--name: {message}", hint=remedy, exit_code=2)
    return name


def scaffold(folder: Path, name: str | None, *, here: bool = False) -> Scaffolded:
    """Write the files of a project; overwrite nothing.

    Args:
        folder: a folder in a git work tree; with `here` it may be new.
        name: the project's name, a DNS label; by default made of its folder's name.
        here: write into `folder` itself, else at the top of the work tree that holds it.

    Raises:
        CoppiceError: no git repository, a bare one, a name that cannot be, or files in the way; nothing was written.
    """
    existing = next(path for path in (folder, *folder.parents) if path.is_dir())
    repo = repository.find(existing)
    if repo.working_tree_dir is None:
        raise CoppiceError(f"{folder} is a bare repository", hint="run this in a clone of it", exit_code=2)
    root = folder if here else Path(repo.working_tree_dir)
    project = _project_name(root, name)
    # A name such as 2026, 1e3 or null is something else in YAML unless it is quoted.
    plain = project[0].isalpha() and yaml.safe_load(project) == project
    shown = project if plain else f'"{project}"'
    files = {
        "grove.yaml": _GROVE.substitute(project=shown),
        "Pulumi.yaml": _PROJECT.substitute(project=shown),
        _PROGRAM_PATH: _PROGRAM,
    }
    _check_room(root)
    written, kept = [], []
    for path, text in files.items():
        target = root / path
        if target.exists() or target.is_symlink():
            kept.append(path)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        written.append(path)
    return Scaffolded(root, project, written, kept)


def _check_room(root: Path) -> None:
    """Refuse what stands in the way before anything is written."""
    parent = (root / _PROGRAM_PATH).parent
    if parent.exists() and not parent.is_dir():
        raise CoppiceError(
            f"{parent} is a file", hint="move it: the program goes into a folder of that name", exit_code=2
        )
    if (root / "Pulumi.yaml").is_file():
        check_kind(root)
