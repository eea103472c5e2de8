"""The only place where providers are constructed: explicit ones, so that no ambient setting picks the machine."""

import pulumi
import pulumi_docker

from coppice.components.runtimes.docker.own import CoppiceProvider


def docker_provider(name: str, host: str, parent: pulumi.Resource) -> pulumi_docker.Provider:
    """Return the Docker plug-in, bound to the daemon at `host`."""
    return pulumi_docker.Provider(name, host=host, opts=pulumi.ResourceOptions(parent=parent))


def coppice_provider(name: str, host: str, parent: pulumi.Resource) -> CoppiceProvider:
    """Return our own plug-in, bound to the daemon at `host`."""
    return CoppiceProvider(name, docker_host=host, opts=pulumi.ResourceOptions(parent=parent))
