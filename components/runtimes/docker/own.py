"""The program's side of our own plug-in: resource classes for `coppice:docker:*`."""

from collections.abc import Mapping
from typing import Any

import pulumi

from coppice.components.plugin import NAME, VERSION
from coppice.groves.plan import AgentPlan


class CoppiceProvider(pulumi.ProviderResource):
    """A configured pulumi-resource-coppice.

    Args:
        name: the resource's name.
        docker_host: address of the daemon that boxes run on.
        opts: resource options.
    """

    def __init__(
        self, name: str, docker_host: pulumi.Input[str], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        options = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(version=VERSION))
        super().__init__(NAME, name, {"dockerHost": docker_host}, options)


class _Own(pulumi.CustomResource):
    def __init__(
        self,
        token: str,
        name: str,
        props: Mapping[str, Any],
        opts: pulumi.ResourceOptions | None,
    ) -> None:
        options = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(version=VERSION))
        super().__init__(token, name, dict(props), options)


class Image(_Own):
    """An image that Coppice builds; `digest` is its id on the daemon."""

    digest: pulumi.Output[str]

    def __init__(
        self, name: str, *, image: str, source: str, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        props = {"name": image, "source": source, "digest": None}
        super().__init__("coppice:docker:Image", name, props, opts)


class Mirror(_Own):
    """The grove's bare copy of the repository, in `volume`."""

    volume: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        volume: pulumi.Input[str],
        image: pulumi.Input[str],
        repository: str,
        commit: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {"volume": volume, "image": image, "repository": repository, "commit": commit}
        super().__init__("coppice:docker:Mirror", name, props, opts)


class Workspace(_Own):
    """An agent's clone in `volume`; `commit` is the base it keeps for life."""

    volume: pulumi.Output[str]
    commit: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        volume: pulumi.Input[str],
        mirror: pulumi.Input[str],
        image: pulumi.Input[str],
        agent: AgentPlan,
        base: str,
        repository: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {
            "volume": volume,
            "mirror": mirror,
            "image": image,
            "base": base,
            "repository": repository,
            "grove": agent.grove,
            "agent": agent.name,
            "branch": agent.branch,
            "commit": None,
        }
        super().__init__("coppice:docker:Workspace", name, props, opts)


class BoxFiles(_Own):
    """Files that the box reads at /run/coppice and cannot write, in `volume`."""

    volume: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        volume: pulumi.Input[str],
        image: pulumi.Input[str],
        files: Mapping[str, pulumi.Input[str]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {"volume": volume, "image": image, "files": dict(files)}
        super().__init__("coppice:docker:BoxFiles", name, props, opts)


class Power(_Own):
    """Whether a box runs.

    `got` is running, finished, stopped or gone; `finished` the key of the run that ended by itself, `ended` its
    phase then (done or failed), both "" before.
    """

    got: pulumi.Output[str]
    finished: pulumi.Output[str]
    ended: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        container: pulumi.Input[str],
        run: str,
        pids: int,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        outputs = {"got": None, "finished": None, "ended": None}
        props = {"container": container, "run": run, "pids": pids, **outputs}
        super().__init__("coppice:docker:Power", name, props, opts)
