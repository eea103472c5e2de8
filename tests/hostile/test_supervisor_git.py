"""Workspaces made to break, hang or deceive what brings the work home."""

import os
import shutil
from pathlib import Path

import pytest

from tests.supervised import BRANCH, Box, git

COMMIT = "echo new > new; git add new; git commit -qm 'add new'"


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def home(box: Box) -> dict[str, str]:
    """Ids by ref of what comes out of the bundle in a fresh clone."""
    lines = git(box.fetch(), "for-each-ref", "--format=%(refname:lstrip=1) %(objectname)", "refs/home")
    return dict(line.split() for line in lines.splitlines())


def test_a_deleted_git_folder(box: Box) -> None:
    run = box.run("rm -rf .git; echo left > left", expect="commit")
    assert (run.code, run.end["phase"]) == (1, "failed")
    assert (run.result["commit"], run.result["commits"]) == (None, 0)
    assert any("agents/oak is gone" in warning for warning in run.warnings)
    clone = box.fetch()
    assert git(clone, "show", f"{run.result['snapshot']}:left") == "left"


def test_a_deleted_git_folder_is_no_silent_success(box: Box) -> None:
    run = box.run("rm -rf .git")
    assert run.result["commit"] is None
    assert any("is gone" in warning for warning in run.warnings)


@pytest.mark.parametrize("script", ["ln -s {away} .git", "echo gitdir: {away} > .git", "mkfifo .git"])
def test_a_git_folder_that_is_none(box: Box, script: str) -> None:
    away = box.folder / "away"
    run = box.run(f"{COMMIT}; mv .git {away}; " + script.format(away=away))
    assert (run.code, run.end["phase"]) == (1, "failed")
    assert "is not a directory" in run.end["reason"]
    assert run.result["bundle"] is None
    assert not (away / "coppice").exists()


def test_configured_programs_do_not_run(box: Box) -> None:
    witness = box.folder / "witness"
    program = box.folder / "program"
    script = f"""
        {COMMIT}
        printf '#!/bin/sh\\necho "$0 $*" >> {witness}\\ncat\\n' > {program}; chmod +x {program}
        for hook in pre-commit post-commit reference-transaction post-index-change post-rewrite; do
            cp {program} .git/hooks/$hook
        done
        echo '* filter=evil diff=evil merge=evil' > .gitattributes
        cp .gitattributes .git/info/attributes
        for key in filter.evil.clean filter.evil.smudge filter.evil.process diff.evil.textconv core.fsmonitor \\
            core.hooksPath core.sshCommand core.pager core.editor gpg.program uploadpack.packObjectsHook \\
            diff.external credential.helper alias.add alias.bundle
        do git config $key {program}; git config --global $key {program}; done
        git config filter.evil.required true; git config commit.gpgSign true
        git config include.path {box.folder}/more; git config extensions.partialClone origin
        git config remote.origin.url 'ext::{program}'; git config protocol.ext.allow always
        git config core.worktree /; git config core.bare true
        rm -f {witness}; echo left > left
    """
    run = box.run(script, expect="commit")
    assert run.code == 0, run.events
    assert not witness.exists(), witness.read_text()
    assert home(box) == {
        f"home/heads/{BRANCH}": run.result["commit"],
        "home/coppice/snapshot": run.result["snapshot"],
    }
    assert git(box.fetch(), "show", f"{run.result['snapshot']}:left") == "left"


@pytest.mark.parametrize(
    "damage",
    [
        "echo '[broken' > .git/config",
        "rm .git/config; mkfifo .git/config",
        "rm .git/HEAD",
        "echo garbage > .git/index",
        "rm .git/index; mkfifo .git/index",
        "rm .git/index; mkdir .git/index",
        "rm .git/index; ln -s /dev/zero .git/index",
        "touch .git/index.lock .git/HEAD.lock .git/refs/heads/agents/oak.lock .git/packed-refs.lock",
        "echo garbage > .git/shallow",
        "rm -f .git/info/exclude; mkdir -p .git/info/exclude",
        "rm -f .git/info/exclude; mkdir -p .git/info; mkfifo .git/info/exclude",
        "git rev-parse HEAD > .git/shallow",
        "mkdir -p .git/info; echo $(git rev-parse HEAD) > .git/info/grafts",
        "git replace $(git rev-parse HEAD) $(git rev-parse HEAD^)",
        "git config core.repositoryFormatVersion 99",
        "git pack-refs --all",
        "git checkout -q --detach HEAD",
        "chmod 0500 .git",
    ],
)
def test_damage_that_costs_no_commit(box: Box, damage: str) -> None:
    script = f"{COMMIT}; echo tip=$(git rev-parse HEAD); {damage}"
    run = box.run(script, expect="commit")
    assert run.code == 0, run.events
    assert run.result["commits"] == 1
    assert home(box)[f"home/heads/{BRANCH}"] == run.output()[0].removeprefix("tip=")


def test_the_branch_is_gone(box: Box) -> None:
    run = box.run(f"{COMMIT}; git checkout -qb other; git branch -qD {BRANCH}", expect="commit")
    assert (run.code, run.result["commit"], run.result["commits"]) == (1, None, 0)
    assert run.warnings == [f"the branch {BRANCH} is gone"]
    # The files of the lost branch still come home, on top of the base.
    clone = box.fetch()
    assert git(clone, "show", f"{run.result['snapshot']}:new") == "new"
    assert git(clone, "rev-parse", f"{run.result['snapshot']}^") == box.base


@pytest.mark.parametrize(
    "damage",
    [
        "echo 'ref: refs/heads/main' > .git/refs/heads/agents/oak",
        "rm .git/refs/heads/agents/oak; ln -s ../main .git/refs/heads/agents/oak",
        "rm .git/refs/heads/agents/oak; mkfifo .git/refs/heads/agents/oak",
        "rm .git/refs/heads/agents/oak; mkdir .git/refs/heads/agents/oak",
        "echo 1234567890123456789012345678901234567890 > .git/refs/heads/agents/oak",
        "tree=$(git rev-parse HEAD^{tree}); echo $tree > .git/refs/heads/agents/oak",
        "head -c 100000 /dev/zero > .git/refs/heads/agents/oak",
    ],
)
def test_a_branch_that_is_no_branch_is_no_success(box: Box, damage: str) -> None:
    run = box.run(f"{COMMIT}; {damage}")
    assert (run.code, run.end["phase"]) == (1, "failed")
    assert "the branch agents/oak cannot be read" in run.end["reason"]
    assert run.result["commit"] is None
    assert git(box.fetch(), "show", f"{run.result['snapshot']}:new") == "new"


def test_rewritten_history(box: Box) -> None:
    script = "git reset -q --hard HEAD^; echo other > other; git add other; git commit -qm other"
    run = box.run(script, expect="commit")
    assert run.code == 0
    assert run.result["commits"] == 1
    assert any("does not contain its base" in warning for warning in run.warnings)
    assert home(box) == {f"home/heads/{BRANCH}": run.result["commit"]}


def test_unrelated_history(box: Box) -> None:
    run = box.run(f"git checkout -q --orphan fresh; git commit -qm fresh; git branch -qM fresh {BRANCH}")
    assert run.code == 0
    clone = box.fetch()
    assert git(clone, "rev-list", "--count", f"refs/home/heads/{BRANCH}") == "1"
    assert git(clone, "show", f"refs/home/heads/{BRANCH}:kept") == "kept"


def test_a_branch_moved_back_is_no_commit(box: Box) -> None:
    run = box.run("git reset -q --hard HEAD^", expect="commit")
    assert (run.code, run.result["commits"], run.result["bundle"]) == (1, 0, None)
    assert "no commit on agents/oak" in run.end["reason"]


def test_lost_objects_are_no_success(box: Box) -> None:
    script = (
        f"{COMMIT}; object=$(git rev-parse HEAD:new); rm -f new .git/objects/${{object:0:2}}/${{object:2}}"
    )
    run = box.run(script, expect="commit")
    assert (run.code, run.end["phase"]) == (1, "failed")
    assert "no bundle of the work can be made" in run.end["reason"]
    assert run.result["bundle"] is None


def test_a_lost_base_is_no_success(box: Box) -> None:
    run = box.run(f"{COMMIT}; rm .git/objects/info/alternates", expect="commit")
    assert (run.code, run.end["phase"]) == (1, "failed")
    assert any(f"the base commit {box.base} is not in the workspace" in warning for warning in run.warnings)


@pytest.mark.parametrize(
    "trap",
    [
        "mkdir {away}; ln -s {away} .git/coppice",
        "mkdir -p {away}; mkdir .git/coppice; ln -s {away}/stolen .git/coppice/branch.bundle",
        "mkdir -p {away} .git/coppice/branch.bundle/deep",
        "mkdir {away}; mkfifo .git/coppice",
        "mkdir -p {away}; mkdir -p .git/coppice/scratch/objects; chmod 0 .git/coppice",
    ],
)
def test_a_trap_where_the_bundle_goes(box: Box, trap: str) -> None:
    away = box.folder / "away"
    run = box.run(f"{COMMIT}; " + trap.format(away=away), expect="commit")
    assert run.code == 0, run.events
    assert list(away.iterdir()) == []
    assert box.bundle.is_file()
    assert not box.bundle.is_symlink()
    assert home(box) == {f"home/heads/{BRANCH}": run.result["commit"]}


def test_a_fifo_in_the_work_tree_is_left_out(box: Box) -> None:
    run = box.run("mkfifo pipe; rm kept; mkfifo kept; echo left > left", "--git-timeout", "5")
    assert run.result["snapshot"]
    assert "left" in git(box.fetch(), "ls-tree", "--name-only", run.result["snapshot"]).splitlines()


def test_a_fifo_that_git_would_wait_for_costs_the_success_and_not_the_end(box: Box) -> None:
    run = box.run(
        f"{COMMIT}; mkdir deep; mkfifo deep/.gitignore; touch deep/file", "--git-timeout", "1", timeout=30
    )
    assert (run.code, run.end["phase"]) == (1, "failed")
    assert "what was left uncommitted cannot be saved" in run.end["reason"]
    assert home(box) == {f"home/heads/{BRANCH}": run.result["commit"]}


def test_nested_repositories_are_named(box: Box) -> None:
    script = """
        git init -q empty; git init -q full; cd full; echo x > x; git add x; git commit -qm x
        git config core.fsmonitor 'touch ../../witness'; echo y > x; cd ..; echo left > left
    """
    run = box.run(script)
    assert run.code == 0
    assert any("1 nested git repositories" in warning and "full" in warning for warning in run.warnings)
    assert any("not complete" in warning and "empty" in warning for warning in run.warnings)
    assert git(box.fetch(), "show", f"{run.result['snapshot']}:left") == "left"


def test_odd_file_names(box: Box) -> None:
    box.run("echo x > $'new\\nline'; echo x > $'\\377'; echo x > ./-rf; mkdir -- --help; echo x > --help/x")
    clone = box.fetch()
    names = git(clone, "ls-tree", "-r", "-z", "--name-only", "refs/home/coppice/snapshot")
    assert {"new\nline", "-rf", "--help/x"} <= set(names.split("\0"))


def test_links_out_of_the_workspace_come_home_as_links(box: Box) -> None:
    secret = box.folder / "secret"
    secret.write_text("not the agent's")
    run = box.run(f"ln -s {secret} link; ln -s {box.folder} folder; ln -s link2 link2")
    clone = box.fetch()
    assert git(clone, "show", f"{run.result['snapshot']}:link") == str(secret)
    assert git(clone, "ls-tree", "-r", "--format=%(objectmode)", run.result["snapshot"], "folder") == "120000"


def test_marks_in_the_index_do_not_break_the_snapshot(box: Box) -> None:
    script = """
        git update-index --split-index; git update-index --untracked-cache
        echo x > unmerged; blob=$(git hash-object -w unmerged)
        printf '100644 %s 1\\tunmerged\\n100644 %s 2\\tunmerged\\n' $blob $blob | git update-index --index-info
        echo left > left
    """
    run = box.run(script)
    assert run.code == 0
    names = git(box.fetch(), "ls-tree", "--name-only", run.result["snapshot"]).splitlines()
    assert names == [".gitignore", "doomed", "kept", "left", "unmerged"]


def test_the_workspace_is_gone(box: Box) -> None:
    run = box.run(f"rm -rf {box.workspace}", expect="commit")
    assert (run.code, run.end["phase"]) == (1, "failed")


def test_a_forged_git_on_the_harness_s_path_is_not_used(box: Box) -> None:
    fake = box.folder / "fake"
    fake.mkdir()
    (fake / "git").write_text(f"#!/bin/sh\ntouch {box.folder}/witness\n")
    (fake / "git").chmod(0o755)
    run = box.run("git status", env={"PATH": f"{fake}:{os.environ['PATH']}"})
    assert (box.folder / "witness").exists(), "the harness does use it"
    (box.folder / "witness").unlink()
    (box.workspace / "left").write_text("left")
    shutil.copy(fake / "git", box.workspace / "git")
    run = box.run("true", env={"PATH": f"{fake}:{os.environ['PATH']}"})
    assert run.result["snapshot"]
    assert not (box.folder / "witness").exists()
