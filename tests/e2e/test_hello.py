"""The example on the real engine and a real daemon: branches, no change the second time, nothing left."""

from tests.real import Daemon, Tools


def test_hello_makes_two_branches_and_then_changes_nothing(clone: Tools, daemon: Daemon) -> None:
    before = daemon.everything()
    head = clone.git("rev-parse", "HEAD")

    first = clone.coppice("up", "hello", "--yes").stdout
    assert "census: network none, secrets none, spend 0" in first
    assert "inventory: network none, secrets none, spend 0" in first
    assert "census done, inventory done" in first
    for agent, path, subject in (
        ("census", "TESTS.md", "Count the tests"),
        ("inventory", "INVENTORY.md", "Add an inventory of the modules"),
    ):
        shown = clone.git("show", "--stat", "--format=%an <%ae>%n%s", f"agents/{agent}")
        assert shown.splitlines()[:2] == [f"{agent} <{agent}@hello.coppice.invalid>", subject]
        assert path in shown
        assert clone.git("rev-parse", f"agents/{agent}^") == head
    inventory = clone.git("show", "agents/inventory:INVENTORY.md")
    assert "| groves/load.py |" in inventory
    assert "tests in all." in clone.git("show", "agents/census:TESTS.md")
    assert clone.git("status", "--porcelain") == ""

    boxes = daemon.everything()
    assert "no changes; census done, inventory done" in clone.coppice("up", "hello", "--yes").stdout
    assert "no changes, " in clone.coppice("preview", "hello").stdout
    # Also when the engine has looked at how things really are.
    clone.pulumi("refresh", "--yes", "--stack", "hello")
    assert clone.json("preview", "hello")["changes"].keys() == {"same"}
    assert daemon.everything() == boxes

    clone.coppice("destroy", "hello", "--yes")
    assert daemon.everything() == before
    assert clone.git("branch", "--list", "agents/*", "--format=%(refname:short)").split() == [
        "agents/census",
        "agents/inventory",
    ]


def test_pulumi_and_coppice_are_the_same_program_on_the_same_state(clone: Tools, daemon: Daemon) -> None:
    before = daemon.everything()
    clone.pulumi("stack", "init", "hello")
    clone.pulumi("up", "--yes", "--skip-preview", "--stack", "hello")
    assert clone.json("preview", "hello")["changes"].keys() == {"same"}
    up = clone.json("up", "hello")
    assert {agent: state["phase"] for agent, state in up["agents"].items()} == {
        "census": "done",
        "inventory": "done",
    }
    assert up["changes"].keys() == {"same"}
    clone.coppice("destroy", "hello", "--yes")

    clone.coppice("up", "hello", "--yes")
    preview = clone.pulumi("preview", "--stack", "hello", "--expect-no-changes")
    # Plug-ins are installed: nothing is warned about at each run.
    assert "warning" not in (preview.stdout + preview.stderr).lower()
    clone.pulumi("up", "--yes", "--skip-preview", "--stack", "hello", "--expect-no-changes")
    clone.pulumi("destroy", "--yes", "--stack", "hello")
    assert daemon.everything() == before
