"""The JSON Schema of grove files, for editors and for `load`; made from the models.

Run `python -m coppice.groves.schema` to write groves/schema.json, with --check to compare it.
"""

import argparse
import functools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from coppice.groves.model import Grove

SCHEMA_FILE = Path(__file__).resolve().with_name("schema.json")
SCHEMA_ID = "https://coppice.dev/schema/v1/grove.json"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Generator(GenerateJsonSchema):
    """Leaves out what helps nobody who writes YAML: null for "not written", and titles made from names."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        made = super().default_schema(schema)
        if made.get("default", ...) is None:
            del made["default"]
        return made

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        made = super().dict_schema(schema)
        # A value is checked whatever its name: all that is wrong is said at once.
        for pattern, values in made.pop("patternProperties", {}).items():
            made["propertyNames"] = {"pattern": pattern, **made.get("propertyNames", {})}
            made["additionalProperties"] = values
        return made

    def field_title_should_be_set(self, schema: Any) -> bool:
        del schema
        return False


@functools.cache
def _built() -> str:
    made = Grove.model_json_schema(by_alias=True, schema_generator=_Generator)
    head = {
        "$schema": DIALECT,
        "$id": SCHEMA_ID,
        "title": "Coppice grove",
    }
    body = {key: value for key, value in made.items() if key not in head}
    return json.dumps({**head, **body}, indent=2, ensure_ascii=False) + "\n"


def build() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a grove file, made anew from the models."""
    schema: dict[str, Any] = json.loads(_built())
    return schema


def main(arguments: Sequence[str] | None = None) -> int:
    """Write groves/schema.json, or with --check compare it; returns the exit code, 1 if it is out of date."""
    parser = argparse.ArgumentParser(prog="python -m coppice.groves.schema", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check: bool = parser.parse_args(arguments).check
    text = _built()
    if not check:
        SCHEMA_FILE.write_text(text, encoding="utf-8")
        return 0
    if SCHEMA_FILE.is_file() and SCHEMA_FILE.read_text(encoding="utf-8") == text:
        return 0
    sys.stderr.write(f"{SCHEMA_FILE.name} is out of date: run python -m coppice.groves.schema\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
