"""Checks the JSON on standard input against docs/statistics.schema.json; says nothing when it is valid."""
import json, pathlib, sys, jsonschema

schema = json.loads((pathlib.Path(__file__).parents[2] / "docs/statistics.schema.json").read_text())
jsonschema.Draft202012Validator.check_schema(schema)
errors = list(jsonschema.Draft202012Validator(schema).iter_errors(json.load(sys.stdin)))
for error in errors:
    print(error.json_path, error.message)
sys.exit(bool(errors))
