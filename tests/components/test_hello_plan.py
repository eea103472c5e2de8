"""The plan of the example that everybody runs first."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from coppice.groves.load import load_grove
from coppice.groves.plan import plan


def test_the_plan_of_hello(root: Path, golden: Callable[[Path, Any], None]) -> None:
    source = root / "groves" / "examples" / "hello.yaml"
    made = plan(load_grove(source), source=source)
    golden(Path(__file__).parent / "golden" / "hello.plan.json", made.to_json())
