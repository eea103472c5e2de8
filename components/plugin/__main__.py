"""The plug-in's executable: `python -m coppice.components.plugin ENGINE_ADDRESS`."""

import sys

from coppice.components.plugin.server import serve

if __name__ == "__main__":
    serve(sys.argv[1:])
