"""`coppice init` and everything after it in a repository of a user's own."""

from pathlib import Path

from tests.real import Daemon, Tools, grove


def test_init_then_both_programs_in_both_directions(shop: Tools, daemon: Daemon) -> None:
    before = daemon.everything()
    shop.coppice("init")
    shop.commit("grove")
    again = shop.json("init")
    assert again["written"] == []
    assert again["kept"] == ["grove.yaml", "Pulumi.yaml", ".coppice/program.py"]

    up = shop.json("up")
    assert up["agents"] == {"scribe": {"phase": "done", "reason": ""}}
    assert shop.git("show", "agents/scribe:FILES.txt") == "9 files"
    shop.pulumi("preview", "--stack", "shop", "--expect-no-changes")
    shop.pulumi("destroy", "--yes", "--stack", "shop")
    assert daemon.everything() == before

    shop.pulumi("up", "--yes", "--skip-preview", "--stack", "shop")
    assert shop.json("preview")["changes"].keys() == {"same"}
    shop.coppice("destroy", "--yes")
    assert daemon.everything() == before
    # The stack's configuration was nobody's but the stack's, and went with it.
    assert shop.git("status", "--porcelain") == ""

    shop.coppice("preview")
    shop.commit("keep the stack's configuration")
    shop.coppice("destroy", "--yes")
    assert shop.git("status", "--porcelain") == ""
    assert (shop.project / "Pulumi.shop.yaml").exists()


def test_a_stack_belongs_to_one_repository(shop: Tools, tmp_path: Path) -> None:
    shop.coppice("init")
    shop.write("grove.yaml", grove({"fix": "git commit -q --allow-empty -m mine"}))
    shop.commit()
    shop.json("up")
    twin = Tools(tmp_path / "twin" / "shop", shop.environment)
    twin.project.parent.mkdir()
    shop.git("clone", "--quiet", str(shop.project), str(twin.project))
    for words in (("preview",), ("up", "--yes"), ("ps",), ("collect",), ("destroy", "--yes")):
        refused = twin.coppice(*words, check=False)
        assert refused.returncode == 3, words
        assert f"this stack belongs to the repository {shop.project}" in refused.stderr
        assert "-s NAME" in refused.stderr
    twin.pulumi("stack", "select", "shop")
    raw = twin.pulumi("up", "--yes", "--skip-preview", "--stack", "shop", check=False)
    assert raw.returncode != 0
    assert "this stack belongs to the repository" in raw.stdout + raw.stderr
    assert twin.json("up", "-s", "twin")["agents"]["fix"]["phase"] == "done"
    assert twin.git("log", "-1", "--format=%s", "agents/fix") == "mine"
    twin.coppice("destroy", "-s", "twin", "--yes")
    shop.coppice("destroy", "--yes")


def test_a_pulumi_project_of_another_kind_is_never_run(shop: Tools) -> None:
    shop.write("Pulumi.yaml", "name: mine\nruntime: python\n")
    shop.write("__main__.py", "open('ran', 'w').write('x')\n")
    shop.write("grove.yaml", grove({"fix": "true"}))
    for words in (("init",), ("up", "--yes"), ("preview",), ("ps",)):
        refused = shop.coppice(*words, check=False)
        assert refused.returncode == 2, words
        assert "of another kind" in refused.stderr
    assert not (shop.project / "ran").exists()
    assert shop.json("init", "ops")["written"] == ["grove.yaml", "Pulumi.yaml", ".coppice/program.py"]


def test_a_broken_grove_file_does_not_hide_what_stands(shop: Tools, daemon: Daemon) -> None:
    before = daemon.everything()
    shop.coppice("init")
    shop.commit()
    shop.json("up")
    shop.write("grove.yaml", "agents: [")
    broken = shop.coppice("ps", check=False)
    assert broken.returncode == 2
    assert "-s STACK" in broken.stderr
    assert shop.json("ps", "-s", "shop")[0]["phase"] == "done"
    (shop.project / "grove.yaml").unlink()
    shop.coppice("destroy", "-s", "shop", "--yes")
    assert daemon.everything() == before


def test_two_stacks_of_one_grove_and_a_grove_of_another_name(shop: Tools) -> None:
    shop.coppice("init")
    shop.write("agents/other.yaml", grove({"one": "true"}, name="other"))
    shop.commit()
    assert shop.json("up", "agents/other.yaml", "-s", "dev")["agents"]["one"]["phase"] == "done"
    # The stack's own configuration names the file, so that a plain `pulumi` finds it too.
    assert "agents/other.yaml" in (shop.project / "Pulumi.dev.yaml").read_text()
    shop.pulumi("preview", "--stack", "dev", "--expect-no-changes")
    shop.coppice("destroy", "agents/other.yaml", "-s", "dev", "--yes")


def test_errors_of_a_user_are_readable_and_change_nothing(shop: Tools, daemon: Daemon) -> None:
    before = daemon.everything()
    nowhere = shop.coppice("up", "--yes", check=False)
    assert nowhere.returncode == 2
    assert "coppice init" in nowhere.stderr

    shop.coppice("init")
    shop.write(
        "grove.yaml",
        "apiVersion: coppice.dev/v1\nname: shop\nagents:\n  fix:\n    harnes: shell\n    prompt: x\n",
    )
    for verb in ("validate", "show", "preview", "up", "destroy", "ps"):
        wrong = shop.coppice(verb, check=False)
        assert wrong.returncode == 2, verb
        assert "grove.yaml:5:5" in wrong.stderr
        assert "harness" in wrong.stderr
        assert "Traceback" not in wrong.stderr
    raw = shop.pulumi("preview", "--stack", "shop", check=False)
    assert raw.returncode != 0

    shop.write("grove.yaml", grove({"fix": "true"}))
    for verb in ("ps", "collect", "destroy"):
        missing = shop.coppice(verb, check=False)
        assert missing.returncode == 3, verb
        assert "there is no stack shop" in missing.stderr
    assert daemon.everything() == before


def test_a_plain_pulumi_prints_the_grove_files_errors_without_a_traceback(shop: Tools) -> None:
    shop.coppice("init")
    shop.write("grove.yaml", "apiVersion: coppice.dev/v1\nname: shop\nagents:\n  fix: {harness: shell}\n")
    shop.pulumi("stack", "init", "shop")
    wrong = shop.pulumi("preview", "--stack", "shop", check=False)
    assert wrong.returncode != 0
    text = wrong.stdout + wrong.stderr
    assert "grove.yaml:4:3" in text
    assert "prompt" in text
    assert "Traceback" not in text


def test_what_is_not_built_yet_is_shown_and_refused_by_name(shop: Tools, daemon: Daemon) -> None:
    before = daemon.everything()
    shop.coppice("init")
    shop.write("grove.yaml", grove({"fix": "Make the failing test pass."}).replace("shell", "claude"))
    shop.commit()
    assert "claude" in shop.coppice("validate").stdout
    preview = shop.coppice("preview").stdout
    assert "network api.anthropic.com:443, secrets ANTHROPIC_API_KEY, spend unlimited" in preview
    refused = shop.coppice("up", "--yes", check=False)
    assert refused.returncode == 3
    assert "agents.fix.harness: claude" in refused.stderr
    # A plain `pulumi up` refuses just as much.
    raw = shop.pulumi("up", "--yes", "--skip-preview", "--stack", "shop", check=False)
    assert raw.returncode != 0
    assert "agents.fix.harness: claude" in raw.stdout + raw.stderr
    assert daemon.everything() == before


def test_no_commit_no_repository_no_daemon(shop: Tools, tmp_path: Path) -> None:
    empty = Tools(tmp_path / "empty", shop.environment)
    empty.project.mkdir()
    nothing = empty.coppice("init", check=False)
    assert nothing.returncode == 2
    assert "git init" in nothing.stderr
    empty.git("init", "--quiet")
    empty.coppice("init")
    first = empty.coppice("preview", check=False)
    assert first.returncode != 0
    assert "no commit yet" in first.stderr
    assert "Traceback" not in first.stderr

    shop.coppice("init")
    away = Tools(shop.project, {**shop.environment, "DOCKER_HOST": "unix:///nonexistent/docker.sock"})
    refused = away.coppice("up", "--yes", check=False)
    assert refused.returncode != 0
    assert "/nonexistent/docker.sock does not answer" in refused.stderr
    assert "Traceback" not in refused.stderr
    doctor = away.coppice("doctor", check=False)
    assert doctor.returncode == 1
    assert "DOCKER_HOST" in doctor.stdout
