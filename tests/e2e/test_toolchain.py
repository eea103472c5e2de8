"""The engine and its Python language host, as they are installed: real programs, real signals.

Each test has a project, a state backend and a home of its own, and uses the environment that runs the tests.
"""

import contextlib
import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from pulumi import automation

ROOT = Path(__file__).parents[2]

if not sys.platform.startswith("linux"):
    pytest.skip("processes are looked up in /proc", allow_module_level=True)

SLEEPING = """
    import subprocess, time
    import pulumi
    pulumi.Stash("before", input="kept")
    # A child that ends with neither its parent nor an interrupt: it has to be killed.
    subprocess.Popen(["sh", "-c", "trap '' INT TERM HUP; while :; do sleep 1; done"])
    print("the program is asleep", flush=True)
    time.sleep(300)
"""
WAKING = """
    import pulumi
    pulumi.Stash("before", input="kept")
"""


@pytest.fixture(scope="session")
def pulumi() -> Path:
    """The engine that `coppice` would use."""
    found = shutil.which("pulumi", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert found, "there is no pulumi beside this Python or on PATH: run scripts/bootstrap"
    return Path(found)


@pytest.fixture(scope="session")
def home(pulumi: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of the engine with the plug-in that this environment's packages need."""
    home = tmp_path_factory.mktemp("home")
    built = pulumi.resolve().parent / "pulumi-resource-docker"
    file = ["--file", str(built)] if built.is_file() else []
    subprocess.run(
        [pulumi, "plugin", "install", "resource", "docker", version("pulumi-docker"), *file],
        env={**os.environ, "PULUMI_HOME": str(home)},
        check=True,
    )
    return home


@dataclass
class Project:
    """A project in a folder, with stack `dev`."""

    pulumi: Path
    folder: Path
    variables: dict[str, str]
    settings: dict[str, Any] = field(default_factory=dict)

    def write(self, program: str, **settings: Any) -> None:
        self.settings.update(settings)
        (self.folder / "Pulumi.yaml").write_text(json.dumps(self.settings))  # JSON is YAML
        main = self.folder / self.settings.get("main", ".")
        main.mkdir(exist_ok=True)
        (main / "__main__.py").write_text(dedent(program))

    def command(self, *arguments: str) -> list[str]:
        return [str(self.pulumi), *arguments, "--non-interactive", "--color", "never"]

    def run(self, *arguments: str, code: int | None = 0, **variables: str) -> str:
        """Run pulumi; return what it wrote to both outputs. Any failure will do where code is None."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env={**self.variables, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        failed_as_wanted = done.returncode != 0 if code is None else done.returncode == code
        assert failed_as_wanted, f"exit code {done.returncode}:\n{done.stdout}"
        return done.stdout

    def up(self, *arguments: str, code: int | None = 0) -> str:
        return self.run("up", "--yes", "--skip-preview", *arguments, code=code)

    @contextlib.contextmanager
    def started(self, *arguments: str, until: str) -> Iterator[subprocess.Popen[str]]:
        """Start pulumi in a session of its own, and wait until it has written a line with `until`."""
        process = subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=self.variables,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            assert process.stdout
            seen = []
            for line in process.stdout:
                seen.append(line)
                if until in line:
                    break
            else:
                pytest.fail("".join(seen))
            yield process
        finally:
            for pid in session(process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()

    def locks(self) -> list[Path]:
        return [path for path in (self.folder / "state/.pulumi/locks").rglob("*") if path.is_file()]


@pytest.fixture
def project(pulumi: Path, home: Path, tmp_path: Path) -> Project:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PULUMI_")}
    (tmp_path / "state").mkdir()
    variables |= {
        "PATH": f"{pulumi.parent}{os.pathsep}{variables['PATH']}",
        "PULUMI_HOME": str(home),
        "PULUMI_BACKEND_URL": f"file://{tmp_path}/state",
        "PULUMI_CONFIG_PASSPHRASE": "a passphrase",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
    project = Project(pulumi, tmp_path, variables)
    project.write("", name="tiny", runtime={"name": "python", "options": {"virtualenv": sys.prefix}})
    project.run("stack", "init", "dev")
    return project


def session(leader: int) -> dict[int, str]:
    """Return the living processes of a session: number and command."""
    living = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # The name, in parentheses, may hold anything; state, parent, group and session follow it.
            state, _, _, number = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            command = (entry / "cmdline").read_text().replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(number) == leader and state != "Z":
            living[int(entry.name)] = command
    return living


def eventually(condition: Callable[[], Any], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def test_a_program_lives_from_up_to_destroy(project: Project) -> None:
    project.write("""
        import pulumi
        from pulumi.dynamic import CreateResult, Resource, ResourceProvider

        class Provider(ResourceProvider):
            def create(self, props):
                return CreateResult("id", props)

        class Thing(Resource):
            def __init__(self, name):
                super().__init__(Provider(), name, {"size": 3})

        config = pulumi.Config()
        stash = pulumi.Stash("stash", input=config.require("word"))
        Thing("thing")
        print("hello from the program")
        pulumi.export("word", stash.output)
        pulumi.export("secret", config.require_secret("hidden"))
        pulumi.export("stack", pulumi.get_stack())
    """)
    project.run("config", "set", "word", "tree")
    project.run("config", "set", "--secret", "hidden", "s3cret")
    preview = project.run("preview")
    up = project.up()
    outputs = json.loads(project.run("stack", "output", "--json"))
    again = project.run("preview", "--expect-no-changes")
    refresh = project.run("refresh", "--yes", "--skip-preview", "--expect-no-changes")
    destroy = project.run("destroy", "--yes", "--skip-preview")

    assert "+ 3 to create" in preview
    assert "hello from the program" in up
    assert "+ 3 created" in up
    assert outputs == {"word": "tree", "secret": "[secret]", "stack": "dev"}
    assert "3 unchanged" in again
    assert "- 3 deleted" in destroy
    for output in (preview, up, again, refresh, destroy):
        assert "warning" not in output
        assert "s3cret" not in output


@pytest.mark.parametrize(
    ("program", "shown"),
    [
        ("import pulumi\nraise ValueError('no such tree')", "ValueError: no such tree"),
        ("import sys\nsys.exit(7)", "the program exited with code 7"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "ended by a signal"),
        ("import absent_module", "No module named 'absent_module'"),
    ],
)
def test_a_program_that_fails_says_why(project: Project, program: str, shown: str) -> None:
    project.write(program)
    assert shown in project.up(code=None)


def test_about_names_the_python_and_its_packages(project: Project) -> None:
    direct = json.loads(project.run("about", "--json"))
    everything = json.loads(project.run("about", "--json", "--transitive"))

    assert Path(direct["runtime"]["executable"]) == Path(sys.executable)
    assert direct["runtime"]["version"] == sys.version.split()[0]
    names = {package["name"] for package in direct["dependencies"]}
    assert "coppice" in names
    assert "pulumi" not in names  # coppice requires it
    versions = {package["name"]: package["version"] for package in everything["dependencies"]}
    assert versions["pulumi"] == version("pulumi")
    assert versions["pulumi-docker"] == version("pulumi-docker")


@pytest.mark.parametrize("toolchain", [{}, {"toolchain": "pip"}])
def test_the_virtualenv_is_relative_to_the_project(project: Project, toolchain: dict[str, str]) -> None:
    (project.folder / "env").symlink_to(sys.prefix)
    project.write(
        "import os, sys\nprint('prefix', sys.prefix)\nprint('variable', os.environ['VIRTUAL_ENV'])",
        main="program",
        runtime={"name": "python", "options": {"virtualenv": "env", **toolchain}},
    )
    output = project.run("preview")
    assert f"prefix {project.folder}/env" in output
    assert f"variable {project.folder}/env" in output


@pytest.mark.parametrize("bootstrap", [True, False])
def test_a_missing_virtualenv_names_its_remedy(project: Project, bootstrap: bool) -> None:
    if bootstrap:
        script = project.folder / "scripts/bootstrap"
        script.parent.mkdir()
        script.touch(mode=0o755)
    project.write("", runtime={"name": "python", "options": {"virtualenv": ".venv"}})
    output = project.run("preview", code=None)
    remedy = "scripts/bootstrap" if bootstrap else f"pulumi -C {project.folder} install"
    assert f"{project.folder}/.venv does not exist: create it with `{remedy}`" in output


def test_a_virtualenv_without_a_python_is_refused(project: Project) -> None:
    (project.folder / ".venv/bin").mkdir(parents=True)
    project.write("", runtime={"name": "python", "options": {"virtualenv": ".venv"}})
    assert "has no bin/python" in project.run("preview", code=None)


@pytest.mark.parametrize("option", [{"toolchain": "conda"}, {"typechecker": "mypy"}, {"virtualenv": 3}])
def test_an_option_that_is_not_understood_is_refused(project: Project, option: dict[str, Any]) -> None:
    project.write("", runtime={"name": "python", "options": option})
    assert (
        f"runtime option {next(iter(option))}: {next(iter(option.values()))} is not understood"
        in project.run("preview", code=None)
    )


def test_install_shows_what_the_toolchain_says(project: Project) -> None:
    project.write("", runtime={"name": "python", "options": {"virtualenv": "env"}})
    (project.folder / "requirements.txt").write_text("no-such-distribution==1\n")
    output = project.run("install", code=None, PIP_NO_INDEX="1", PIP_FIND_LINKS="")
    assert "Creating virtual environment..." in output
    assert "No matching distribution found" in output
    assert (project.folder / "env/bin/python").exists()


def write_pack(folder: Path) -> Path:
    folder.mkdir()
    (folder / "PulumiPolicy.yaml").write_text(
        json.dumps({"name": "pack", "runtime": {"name": "python", "options": {"virtualenv": sys.prefix}}})
    )
    (folder / "__main__.py").write_text(
        dedent("""
        from pulumi_policy import EnforcementLevel, PolicyPack, ResourceValidationPolicy

        def check(args, report):
            if args.resource_type == "pulumi:index:Stash" and args.props.get("input") == "forbidden":
                report("this word is not for a stash")

        PolicyPack(
            name="pack",
            enforcement_level=EnforcementLevel.MANDATORY,
            policies=[ResourceValidationPolicy(name="no-such-word", description="Words.", validate=check)],
        )
        """)
    )
    return folder


def test_a_policy_pack_refuses_a_resource(project: Project) -> None:
    pack = write_pack(project.folder / "pack")
    project.write("import pulumi\npulumi.Stash('word', input='forbidden')")
    for verb in ("preview", "up"):
        output = (
            project.run("preview", "--policy-pack", str(pack), code=None)
            if verb == "preview"
            else project.up("--policy-pack", str(pack), code=None)
        )
        assert "this word is not for a stash" in output
        assert "no-such-word" in output
    assert "pulumi:index:Stash" not in project.run("stack", "export")

    project.write("import pulumi\npulumi.Stash('word', input='allowed')")
    assert "+ 1 created" in project.up("--policy-pack", str(pack))


def test_a_plugin_may_be_a_python_program(project: Project) -> None:
    plugin = project.folder / "plugin"
    plugin.mkdir()
    (plugin / "PulumiPlugin.yaml").write_text(
        json.dumps({"name": "things", "runtime": {"name": "python", "options": {"virtualenv": sys.prefix}}})
    )
    (plugin / "__main__.py").write_text(
        dedent("""
        from typing import TypedDict
        import pulumi
        from pulumi.provider.experimental import component_provider_host

        class ThingArgs(TypedDict):
            word: pulumi.Input[str]

        class Thing(pulumi.ComponentResource):
            word: pulumi.Output[str]

            def __init__(self, name: str, args: ThingArgs, opts: pulumi.ResourceOptions | None = None) -> None:
                super().__init__("things:index:Thing", name, {}, opts)
                self.word = pulumi.Output.from_input(args["word"])
                self.register_outputs({"word": self.word})

        component_provider_host(name="things", components=[Thing], version="1.0.0")
        """)
    )
    project.write(
        """
        import pulumi
        thing = pulumi.ComponentResource("things:index:Thing", "thing", {"word": "leaf"}, remote=True)
        """,
        plugins={"providers": [{"name": "things", "path": "plugin", "version": "1.0.0"}]},
    )
    assert "+ 2 created" in project.up()


def test_the_automation_api_reports_events(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write("import pulumi\npulumi.Stash('word', input='leaf')\npulumi.export('answer', 42)")
    monkeypatch.setenv("PATH", project.variables["PATH"])
    stack = automation.select_stack(
        "dev",
        work_dir=str(project.folder),
        opts=automation.LocalWorkspaceOptions(
            env_vars={name: value for name, value in project.variables.items() if name.startswith("PULUMI_")}
        ),
    )
    events: list[automation.EngineEvent] = []
    result = stack.up(on_event=events.append)
    assert result.outputs["answer"].value == 42
    created = [event.res_outputs_event.metadata.type for event in events if event.res_outputs_event]
    assert "pulumi:index:Stash" in created
    summaries = [event.summary_event for event in events if event.summary_event]
    assert [summary.resource_changes for summary in summaries] == [{"create": 2}]


def test_ctrl_c_leaves_no_process_and_no_lock(project: Project) -> None:
    project.write(SLEEPING)
    with project.started("up", "--yes", "--skip-preview", until="the program is asleep") as process:
        assert len(session(process.pid)) >= 4, "engine, language host, program and its child"
        assert project.locks()
        # What a terminal does: the interrupt goes to the engine's process group.
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout
        output = process.stdout.read()
        assert process.wait(20) != 0
        assert "canceled" in output
        assert "Traceback" not in output
        assert eventually(lambda: not session(process.pid), 3), session(process.pid)
    assert project.locks() == []

    project.write(WAKING)
    project.up()
    assert "2 unchanged" in project.run("preview", "--expect-no-changes")


def test_nothing_outlives_a_killed_engine(project: Project) -> None:
    project.write(SLEEPING)
    with project.started("up", "--yes", "--skip-preview", until="the program is asleep") as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert eventually(lambda: not session(process.pid), 10), session(process.pid)
    # A killed engine cannot give its lock back: who comes next has to.
    assert project.locks()
    project.run("cancel", "--yes")
    project.write(WAKING)
    project.up()


def test_an_installation_ends_with_a_killed_engine(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        project.variables["PIP_INDEX_URL"] = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        project.variables["PIP_FIND_LINKS"] = ""
        project.write("", runtime={"name": "python", "options": {"virtualenv": "env"}})
        with project.started("install", until="Updating pip") as process:
            assert eventually(lambda: any("pip install" in c for c in session(process.pid).values()), 5)
            os.kill(process.pid, signal.SIGKILL)
            assert eventually(lambda: not session(process.pid), 10), session(process.pid)


@pytest.mark.slow
def test_a_stopped_engine_goes_on(project: Project) -> None:
    """Ctrl-Z stops the engine alone: its plug-ins must not take it for gone."""
    project.write("""
        import time
        import pulumi
        print("the program is awake", flush=True)
        pulumi.Stash("before", input="kept").output.apply(lambda _: time.sleep(5))
    """)
    with project.started("up", "--yes", "--skip-preview", until="the program is awake") as process:
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(25)
        os.kill(process.pid, signal.SIGCONT)
        assert process.stdout
        output = process.stdout.read()
        assert process.wait(20) == 0, output
        assert "+ 2 created" in output


def test_a_killed_language_host_takes_its_program_along(project: Project) -> None:
    project.write(SLEEPING)
    with project.started("up", "--yes", "--skip-preview", until="the program is asleep") as process:
        hosts = [pid for pid, command in session(process.pid).items() if "pulumi-language-python " in command]
        assert len(hosts) == 1
        os.kill(hosts[0], signal.SIGKILL)
        assert eventually(
            lambda: not any("language-python-exec" in c for c in session(process.pid).values()), 5
        )


@pytest.fixture
def downloads() -> Iterator[tuple[str, list[str]]]:
    """A server that has nothing, and the paths it was asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the base class's name
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def test_a_package_brings_its_plugin(
    project: Project, tmp_path: Path, downloads: tuple[str, list[str]]
) -> None:
    server, asked = downloads
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    site = next((tmp_path / "env/lib").glob("python3*/site-packages"))
    (site / "shared.pth").write_text(sysconfig.get_path("purelib"))
    info = site / "pulumi_absent-9.8.7.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pulumi-absent\nVersion: 9.8.7\n")
    (info / "RECORD").write_text("pulumi_absent/pulumi-plugin.json,,\n")
    (site / "pulumi_absent").mkdir()
    (site / "pulumi_absent/pulumi-plugin.json").write_text(json.dumps({"resource": True, "server": server}))
    project.write(
        """
        import pulumi
        pulumi.CustomResource("absent:index:Thing", "thing", {})
        """,
        runtime={"name": "python", "options": {"virtualenv": "env"}},
    )
    output = project.run("preview", code=None)
    assert any("pulumi-resource-absent-v9.8.7" in path for path in asked), asked
    assert "absent" in output
    assert "9.8.7" in output


def test_the_plan_of_bootstrap_changes_nothing(tmp_path: Path) -> None:
    caches = {"COPPICE_CACHE_DIR": str(tmp_path / "cache"), "COPPICE_STATE_DIR": str(tmp_path / "state")}
    before = sorted((ROOT / ".venv").iterdir()) if (ROOT / ".venv").exists() else []
    plan = subprocess.run(
        [ROOT / "scripts/bootstrap", "--print-plan"],
        env={**os.environ, **caches},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.splitlines()
    after = sorted((ROOT / ".venv").iterdir()) if (ROOT / ".venv").exists() else []
    assert any(line.startswith(".venv: about 250 MB, ") for line in plan)
    assert any(line.startswith("engine: ") for line in plan)
    assert all(": " in line for line in plan)
    assert list(tmp_path.iterdir()) == []
    assert before == after


def test_the_lock_holds_every_package_with_its_hashes_and_no_address() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    packages = [block for block in lock.replace("\\\n", "").splitlines() if not block.startswith(("#", " "))]
    assert all("--hash=sha256:" in package for package in packages)
    locked = {package.split("==")[0] for package in packages}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower() for requirement in wanted}
    assert names <= locked


def test_engine_and_python_sdk_have_one_version(pulumi: Path) -> None:
    modules = (ROOT / "scripts/toolchain/go.mod").read_text()
    assert f"github.com/pulumi/pulumi/sdk/v3 v{version('pulumi')}\n" in modules
    plugin = (ROOT / "scripts/toolchain/docker-plugin/main.go").read_text()
    assert f'version = "{version("pulumi-docker")}"' in plugin
