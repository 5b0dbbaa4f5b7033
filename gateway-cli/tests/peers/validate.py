"""Validates documents against a JSON Schema. Arguments: the schema's file, then files of documents in JSON.

Prints one line for each document: "valid", or where and why it is not.
"""
import json
import sys

from jsonschema import Draft202012Validator

with open(sys.argv[1]) as file:
    schema = json.load(file)
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(schema)
for path in sys.argv[2:]:
    with open(path) as file:
        errors = sorted(validator.iter_errors(json.load(file)), key=lambda error: error.json_path)
    print("valid" if not errors else "; ".join(f"{error.json_path}: {error.message}" for error in errors))
