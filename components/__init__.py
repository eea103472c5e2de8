"""Plan -> resources: the Pulumi components, and the only importers of provider SDKs."""
