"""Policy files: YAML without surprises, checked field by field.

Whoever writes a policy has to be able to read what it means: no anchors, no key twice, no guessed types, no unknown
field.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

MAX_POLICY_BYTES = 1 << 20
MAX_YAML_DEPTH = 32
MAX_YAML_SCALAR = 1 << 16
"""Characters of one name or value."""

Model = TypeVar("Model", bound=BaseModel)


def load(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a policy file.

    Raises:
        ValueError: larger than 1 MiB.
        OSError: the file cannot be read.
    """
    with Path(path).open("rb") as file:
        data = file.read(MAX_POLICY_BYTES + 1)
    if len(data) > MAX_POLICY_BYTES:
        raise ValueError(f"policy {path}: larger than {MAX_POLICY_BYTES} bytes")
    return data


def parse(data: bytes | str, name: str) -> dict[str, Any]:
    """The fields of a YAML text; none of an empty one.

    Raises:
        ValueError: not YAML, or no mapping of fields to JSON values; `name` begins the message.
    """
    try:
        value = yaml.load(data, Loader=_StrictLoader)
        value = {} if value is None else value
        json.dumps(value)
    except (yaml.YAMLError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"{name}: not a YAML policy: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{name}: a policy is a mapping of fields, not a {type(value).__name__}")
    return value


def validated(model: type[Model], value: dict[str, Any], name: str) -> Model:
    """The policy of these fields.

    Raises:
        ValueError: an unknown field, or a value out of range; the message names the field.
    """
    try:
        return model.model_validate_json(json.dumps(value))
    except ValidationError as error:
        lines = "; ".join(f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors())
        raise ValueError(f"{name}: {lines}") from error


class _StrictLoader(yaml.SafeLoader):
    """YAML without surprises: no duplicate keys, no anchors, bounded depth and values, no guessed or named types."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - the base class declares it so

    def __init__(self, stream: bytes | str) -> None:
        super().__init__(stream)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        # A few aliases can stand for billions of nodes.
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("anchors and aliases are not allowed")
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        # A tag chooses a type, some of which take quadratic time to read or fail in ways of their own.
        if getattr(event, "tag", None) is not None:
            raise yaml.YAMLError("tags are not allowed")
        if len(getattr(event, "value", "")) > MAX_YAML_SCALAR:
            raise yaml.YAMLError(f"a value of more than {MAX_YAML_SCALAR} characters")
        self._depth += 1
        if self._depth > MAX_YAML_DEPTH:
            raise yaml.YAMLError(f"nested more than {MAX_YAML_DEPTH} levels deep")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if any(not isinstance(key, str) for key in keys) or len(set(keys)) != len(keys):
            raise yaml.YAMLError("keys are strings, and each appears once")
        return super().construct_mapping(node, deep)


# YAML 1.1 reads an unquoted 0x… as a number and "on" as true; here only true, false and decimals are typed.
for _tag, _pattern, _first in (
    ("bool", r"true|false", "tf"),
    ("int", r"-?(0|[1-9][0-9]{0,17})", "-0123456789"),
    ("null", r"null|~|", ["n", "~", ""]),
):
    _StrictLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))
