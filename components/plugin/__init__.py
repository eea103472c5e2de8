"""pulumi-resource-coppice: the few resources of our own, as a provider plug-in.

They do on the daemon's side what the Docker plug-in cannot: fill volumes, clone, write files that change
without replacing a box, and switch a box on so that one which is done stays done.
"""

NAME = "coppice"
VERSION = "0.1.0"
