"""Grove files: every problem at once, each with its place and its remedy; and how a grove is found."""

import os
from pathlib import Path

import pytest

from coppice.groves import schema
from coppice.groves.errors import InputError, Problem, did_you_mean, nearest, shown
from coppice.groves.load import find_grove, load_grove, parse_grove
from coppice.groves.model import Grove
from coppice.groves.plan import plan

HEAD = "apiVersion: coppice.dev/v1\n"


def problems(text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        parse_grove(text.encode(), "g.yaml")
    assert caught.value.problems
    return [str(problem) for problem in caught.value.problems]


def test_all_problems_at_once_in_the_files_order() -> None:
    text = """\
apiVersion: coppice.dev/v2
nmae: shop
agents:
  Fix: {harnes: shell, prompt: 1}
  b:
    resources: {cpu: lots, memory: 1Zi, pids: 0}
    limits: {duration: 2, turns: many}
    expect: comit
    count: 1.0
    model:
    endpoints: npm
"""
    assert problems(text) == [
        "g.yaml:1:13: apiVersion: expected 'coppice.dev/v1', found 'coppice.dev/v2'. Write coppice.dev/v1.",
        "g.yaml:2:1: nmae: unknown field 'nmae'. Did you mean 'name'?",
        (
            "g.yaml:4:3: agents.Fix: 'Fix' is not a name for an agent. Write 'fix'. Use lower-case letters, digits"
            " and hyphens, with a letter or digit at both ends."
        ),
        "g.yaml:4:9: agents.Fix.harnes: unknown field 'harnes'. Did you mean 'harness'?",
        "g.yaml:4:32: agents.Fix.prompt: expected text, found 1. Put it in quotes.",
        (
            "g.yaml:6:22: agents.b.resources.cpu: 'lots' is not a number of CPUs."
            ' Write a number such as 2 or 0.5, or thousandths such as "500m".'
        ),
        (
            "g.yaml:6:36: agents.b.resources.memory: '1Zi' is not an amount of memory."
            " Write an amount such as 512Mi or 2Gi."
        ),
        "g.yaml:6:47: agents.b.resources.pids: 0 is too small. The least is 1.",
        (
            "g.yaml:7:24: agents.b.limits.duration: the duration 2 has no unit."
            " Write a duration such as 90s, 30m, 2h or 1h30m."
        ),
        (
            "g.yaml:7:34: agents.b.limits.turns: expected a whole number, found 'many'."
            " Write a decimal number, without quotes."
        ),
        "g.yaml:8:13: agents.b.expect: 'comit' is not one of commit, result, none. Did you mean 'commit'?",
        "g.yaml:9:12: agents.b.count: expected a whole number, found 1.0. Write it without a point.",
        "g.yaml:10:11: agents.b.model: expected text, found nothing. Give it a value, or remove the field.",
        "g.yaml:11:16: agents.b.endpoints: expected a list, found 'npm'. Write it as a list: [a, b].",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "g.yaml:1:1: the file is empty. Start with 'apiVersion: coppice.dev/v1' and 'agents:'."),
        ("- a", "g.yaml:1:1: the file holds a list of 1 item, not a mapping of fields. Start with"),
        (
            "agents: {}",
            "g.yaml:1:1: the field 'apiVersion' is missing. Add the line 'apiVersion: coppice.dev/v1'.",
        ),
        (HEAD, "g.yaml:1:1: the field 'agents' is missing. Add 'agents:' with at least one agent"),
        (HEAD + "agents:", "g.yaml:2:8: agents: expected a mapping, found nothing. Give it a value"),
        (
            HEAD + "agents: {}\nharness: x",
            "g.yaml:3:1: harness: unknown field 'harness'. It belongs to an agent",
        ),
        (
            HEAD + "agents: {}\non: x",
            "g.yaml:3:1: on: unknown field 'on'. Known: agents, apiVersion, endpoints,",
        ),
        (
            HEAD + "agents: {}\napi_version: x",
            "g.yaml:3:1: api_version: unknown field 'api_version'. Did you mean 'a",
        ),
        (HEAD + "agents: {a: {max_alive: 1}}", "g.yaml:2:14: agents.a.max_alive: unknown field 'max_alive'."),
        (
            HEAD + "agents: {a: {spawn: {max_alive: 1}}}",
            "g.yaml:2:22: agents.a.spawn.max_alive: unknown field",
        ),
        (HEAD + "agents: {a: {harness: ''}}", "g.yaml:2:23: agents.a.harness: the text is empty."),
        (HEAD + "agents: {a: {budget: {}}}", "g.yaml:2:14: agents.a.budget: the field 'usd' is missing."),
        (HEAD + "agents: {a: {budget: {usd: -1}}}", "g.yaml:2:28: agents.a.budget.usd: -1 is too small."),
        (
            HEAD + "agents: {a: {messages: {broadcast: 'yes'}}}",
            "g.yaml:2:36: agents.a.messages.broadcast: expected true",
        ),
        (
            HEAD + "agents: {a: {limits: {duration: 0s}}}",
            "g.yaml:2:33: agents.a.limits.duration: the duration '0s' is",
        ),
        (
            HEAD + "agents: {a: {resources: {cpu: 0}}}",
            "g.yaml:2:31: agents.a.resources.cpu: 0 CPUs is not between",
        ),
        (
            HEAD + "agents: {a: {resources: {memory: 1k}}}",
            "g.yaml:2:34: agents.a.resources.memory: '1k' of memory is not",
        ),
        (
            HEAD + "repository: {ref: --upload-pack=x}\nagents: {}",
            "g.yaml:2:19: repository.ref: '--upload-pack=x' is not a",
        ),
        (
            HEAD + "repository: {ref: a..b}\nagents: {}",
            "g.yaml:2:19: repository.ref: 'a..b' is not a git revision.",
        ),
        (
            HEAD + "repository: {path: ~/x}\nagents: {}",
            "g.yaml:2:20: repository.path: ~ is not expanded here.",
        ),
        (
            HEAD + "repository: {path: ''}\nagents: {}",
            "g.yaml:2:20: repository.path: the path is empty. Write .",
        ),
        (
            HEAD + "name: Shop\nagents: {}",
            "g.yaml:2:7: name: 'Shop' is not a name for a grove. Write 'shop'.",
        ),
        (
            HEAD + "name: a.b\nagents: {}",
            "g.yaml:2:7: name: the grove's name 'a.b' has a dot, which separates",
        ),
        (HEAD + "agents: {broker: {}}", "g.yaml:2:10: agents.broker: the agent's name 'broker' is reserved."),
        (HEAD + "agents: {'': {}}", "g.yaml:2:10: agents.'': the agent's name is empty."),
        (
            HEAD + f"agents: {{{'a' * 41}: {{}}}}",
            f"g.yaml:2:10: agents.{'a' * 41}: the agent's name has 41 characters",
        ),
    ],
)
def test_messages(text: str, message: str) -> None:
    found = problems(text)
    assert any(item.startswith(message) for item in found), found


def test_names_that_differ_by_case_are_refused_with_the_lower_case_form() -> None:
    found = problems(
        HEAD + "agents:\n  fix: {harness: shell, prompt: x}\n  FIX: {harness: shell, prompt: x}\n"
    )
    assert len(found) == 1
    assert found[0].startswith("g.yaml:4:3: agents.FIX: 'FIX' is not a name for an agent. Write 'fix'.")


def test_many_problems_are_cut() -> None:
    found = problems(HEAD + "agents:\n" + "".join(f"  a{i}: 1\n" for i in range(300)))
    assert len(found) == 101
    assert found[0] == "g.yaml: 300 problems, of which the first 100 follow. Mend these first."
    assert found[1].startswith(
        "g.yaml:3:7: agents.a0: expected a mapping, found 1. Write its fields below it, indented."
    )


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo.yaml"
    os.mkfifo(fifo)
    loop = tmp_path / "loop.yaml"
    loop.symlink_to(loop)
    cases = {
        tmp_path / "none.yaml": "there is no such file. Check the path.",
        tmp_path: "this is a folder, not a grove file. Name the grove file in it, such as grove.yaml.",
        fifo: "this is not a regular file. Name a YAML file.",
        loop: "it cannot be read: Too many levels of symbolic links. Check the path.",
        tmp_path / ("x" * 300): "it cannot be read: File name too long. Check the path.",
        Path("a\0b.yaml"): "it cannot be read: embedded null byte. Check the path.",
    }
    for path, message in cases.items():
        with pytest.raises(InputError) as caught:
            load_grove(path)
        assert [str(problem) for problem in caught.value.problems] == [f"{path}: {message}"]


def test_no_permission_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("coppice.groves.load.os.open", deny)
    with pytest.raises(InputError, match=r"no permission to read it\. Check its owner and mode\."):
        load_grove(tmp_path / "g.yaml")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "groves" / "examples").mkdir(parents=True)
    (tmp_path / "groves" / "nightly.yaml").write_text(HEAD)
    (tmp_path / "groves" / "examples" / "hello.yml").write_text(HEAD)
    (tmp_path / "grove.yaml").write_text(HEAD + "name: shop\n")
    return tmp_path


def test_groves_are_found_by_name(project: Path) -> None:
    assert find_grove("nightly", project) == project / "groves" / "nightly.yaml"
    assert find_grove("hello", project) == project / "groves" / "examples" / "hello.yml"
    assert find_grove("shop", project) == project / "grove.yaml"
    (project / "grove.yaml").write_text(HEAD)
    assert find_grove(project.name, project) == project / "grove.yaml"


def test_groves_are_found_by_path(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project / "groves")
    assert find_grove("nightly.yaml", project) == Path("nightly.yaml")
    assert find_grove("groves/nightly.yaml", project) == project / "groves" / "nightly.yaml"
    assert find_grove(project / "grove.yaml", project) == project / "grove.yaml"


def test_grove_not_found_lists_places_and_names(project: Path) -> None:
    with pytest.raises(InputError) as caught:
        find_grove("nigtly", project)
    assert caught.value.message == (
        "there is no grove 'nigtly': looked for grove.yaml, grove.yml, coppice.yaml, coppice.yml,"
        " groves/nigtly.yaml, groves/nigtly.yml, groves/examples/nigtly.yaml, groves/examples/nigtly.yml"
    )
    assert caught.value.hint == "Did you mean 'nightly'?"
    with pytest.raises(InputError) as caught:
        find_grove("zzz", project)
    assert caught.value.hint == "Known: hello, nightly, shop."
    with pytest.raises(InputError, match=r"there is no grove file 'groves/no\.yaml'"):
        find_grove("groves/no.yaml", project)


@pytest.mark.parametrize("name", ["", " ", "a\0b", "x" * 5000, "x" * 5000 + ".yaml", "..", "a/b"])
def test_odd_names_are_input_errors(project: Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        find_grove(name, project)
    assert caught.value.hint


def test_empty_project_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        find_grove("x", tmp_path)
    assert caught.value.hint == "The project has no grove files yet."


def test_committed_schema_is_the_models(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert schema.main(["--check"]) == 0
    monkeypatch.setattr(schema, "SCHEMA_FILE", tmp_path / "schema.json")
    assert schema.main(["--check"]) == 1
    assert "is out of date" in capsys.readouterr().err
    assert schema.main([]) == 0
    assert schema.main(["--check"]) == 0


def test_schema_is_for_editors() -> None:
    made = schema.build()
    assert made["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert made["$id"]
    assert made["title"]
    assert made["properties"]["agents"]["propertyNames"]["maxLength"] == 40
    for name, part in {"": made, **made["$defs"]}.items():
        assert part["additionalProperties"] is False, name
        for field, rule in part["properties"].items():
            assert rule.get("description"), (name, field)
            assert "_" not in field
            assert "anyOf" not in rule


def test_grove_made_in_python_has_no_places() -> None:
    grove = Grove.model_validate({"api_version": "coppice.dev/v1", "agents": {"a": {"harness": "shell"}}})
    with pytest.raises(InputError) as caught:
        plan(grove, source=Path("hello.yaml"))
    assert caught.value.problems[0].line is None


def test_error_helpers() -> None:
    assert str(Problem("f", 1, 2, "a.b", "bad", "Mend it.")) == "f:1:2: a.b: bad. Mend it."
    assert str(Problem("f", None, None, "", "bad")) == "f: bad."
    assert nearest("SHEL", ["shell"]) == "shell"
    assert nearest("x" * 100_000, ["shell"]) is None
    assert did_you_mean("q", []) == "There are none to choose from."
    assert did_you_mean("q", [f"name{i}" for i in range(10)]).endswith(" and 2 more.")
    assert len(shown("x" * 1000)) == 60
