"""Holds answers against the API's own description of itself."""

import json
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

ROOT = "urn:api"


class Truth:
    """Holds answers against the document."""

    def __init__(self, document: Any) -> None:
        self.document = document
        # Unknown keys are the difference that matters: a field that was forgotten in the description.
        for name, schema in document["components"]["schemas"].items():
            if name != "Problem" and "properties" in schema:
                schema["additionalProperties"] = False
        self._registry: Any = Registry().with_resource(ROOT, DRAFT202012.create_resource(document))

    async def check(self, response: Any, path: str) -> None:
        operation = self.document["paths"][path][response.method.lower()]
        answers = operation["responses"]
        status = str(response.status)
        told = answers.get(status) or answers[f"{status[0]}XX"]
        schema = told["content"][response.content_type]["schema"]
        rooted = json.loads(json.dumps(schema).replace('"#/', f'"{ROOT}#/'))
        Draft202012Validator(
            rooted, registry=self._registry, format_checker=Draft202012Validator.FORMAT_CHECKER
        ).validate(await response.json())
