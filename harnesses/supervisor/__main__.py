"""Start the supervisor from its directory: ``python3 -I /opt/coppice/supervisor``."""

import importlib
import importlib.util
import sys
from pathlib import Path

# A name of its own: images may have another package called "supervisor" installed.
PACKAGE = "coppice_supervisor"


def run() -> int:
    """Load the directory as a package, so that its modules shadow nothing, and run it."""
    here = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != here]
    spec = importlib.util.spec_from_file_location(
        PACKAGE, here / "__init__.py", submodule_search_locations=[str(here)]
    )
    if spec is None or spec.loader is None:
        message = f"cannot load the supervisor from {here}"
        raise ImportError(message)
    package = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = package
    spec.loader.exec_module(package)
    code: int = importlib.import_module(f"{PACKAGE}.main").main(sys.argv[1:])
    return code


if __name__ == "__main__":
    sys.exit(run())
