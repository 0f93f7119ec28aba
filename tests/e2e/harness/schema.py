"""Holds values to a JSON Schema, as far as docs/audit.schema.json uses the language."""

import json
import pathlib
import re

AUDIT = json.loads((pathlib.Path(__file__).resolve().parents[3] / "docs/audit.schema.json").read_text())
# What says nothing about a value.
_NOTES = {"$schema", "$id", "title", "description"}
_TYPES = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}


def violations(value, schema, where="line"):
    """What of VALUE breaks SCHEMA, a sentence each. A keyword that is not known here is an error."""
    found = []

    def hold(condition, what):
        if not condition:
            found.append(f"{where}: {what}: {value!r}"[:400])

    expected = _TYPES[schema["type"]] if "type" in schema else object
    if not isinstance(value, expected) or isinstance(value, bool) != (expected is bool):
        return [f"{where}: not of type {schema['type']}: {value!r}"[:400]]
    for keyword, operand in schema.items():
        if keyword in _NOTES or keyword == "type":
            continue
        if keyword == "enum":
            hold(value in operand, "not one of the values")
        elif keyword == "pattern":
            hold(re.search(operand, value), f"does not match {operand}")
        elif keyword == "minimum":
            hold(value >= operand, f"less than {operand}")
        elif keyword == "maximum":
            hold(value <= operand, f"more than {operand}")
        elif keyword in ("minLength", "minItems"):
            hold(len(value) >= operand, f"shorter than {operand}")
        elif keyword in ("maxLength", "maxItems"):
            hold(len(value) <= operand, f"longer than {operand}")
        elif keyword == "required":
            hold(all(key in value for key in operand), f"without one of {operand}")
        elif keyword == "properties":
            for key, below in operand.items():
                if key in value:
                    found += violations(value[key], below, f"{where}.{key}")
        elif keyword == "additionalProperties":
            assert operand is False
            hold(set(value) <= set(schema["properties"]), "has other keys")
        elif keyword == "items":
            for number, item in enumerate(value):
                found += violations(item, operand, f"{where}[{number}]")
        elif keyword == "oneOf":
            hold(sum(not violations(value, below) for below in operand) == 1, "not just one of the alternatives")
        else:
            raise ValueError(f"the schema uses '{keyword}', which this validator does not know")
    return found


def audit_violations(path):
    """What the lines of the audit log PATH break."""
    found = []
    # Without a newline at its end, the last line was cut (a full disk), or is being written.
    for number, text in enumerate(path.read_text().split("\n")[:-1], 1):
        try:
            line = json.loads(text)
        except ValueError:
            found.append(f"{path}:{number}: not JSON: {text[:200]}")
            continue
        found += [f"{path}:{number}: {what}" for what in violations(line, AUDIT)]
    return found
