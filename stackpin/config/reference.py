"""Prints docs/reference/variables.md from the models: python -m stackpin.config.reference."""

from __future__ import annotations

import sys
import types as python_types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from stackpin.config import infracore_yaml, types
from stackpin.config.checks import CHECK_KINDS, BaseCheck
from stackpin.config.common import INTERNAL, Shared, StackSettings
from stackpin.config.crm import CrmSettings
from stackpin.config.fields import AddedFields, RegistryFields, RolloutFields
from stackpin.config.hoststack import Gate, SlotPorts
from stackpin.config.infracore import InfracoreFiles
from stackpin.config.infracore_types import DATA, Overlap, PublicPorts, Slots
from stackpin.config.infracore_yaml import ProductConfig
from stackpin.config.mirrors import Mirrors
from stackpin.config.needs import Recommended
from stackpin.config.portal import PortalSettings, TlsFiles
from stackpin.config.sources import FileSource, GitSource, ImageSource, UrlSource
from stackpin.config.xingrin import XingrinServer

HEAD = """\
# Variables

Generated from the models by `python -m stackpin.config.reference`; do not edit.

Variables are plain assignments in `inventories/group_data/<inventory>.py`. Every problem of an
inventory is reported at once by `stackpin check`. A secret is never written down there: it is a
reference, `env:NAME` (environment variable), `file:path` (mode 0600), `command:program arguments`
(what it prints, no shell) or `age:file` (decrypted with `STACKPIN_AGE_IDENTITY`,
`~/.config/stackpin/age.key` or your SSH key). Secrets have at least 8 characters.
"""
PARTS: dict[type[BaseModel], str] = {
    SlotPorts: "ports of blue, green and rehearsal",
    Gate: "gate entries, below",
    Recommended: "mapping of cpus, memory_mb and disk_mb",
    PublicPorts: "mapping of gate, gate_tls, console, orchestrator, probe and snap",
    Slots: "mapping of service to its ports of blue, green and rehearsal",
    Overlap: "mapping of service to True or False",
    ProductConfig: "mapping, as the product's file",
    Mirrors: "mapping of goproxy, npm, debian, docker and alpine to URLs",
    FileSource: "`file(...)`",
    UrlSource: "`url(...)`",
    GitSource: "`git(...)`",
    ImageSource: "`image(...)`",
    TlsFiles: "mapping of certificate and key",
    types.SecretRef: "secret reference",
}
VALIDATED = {
    "_pinned": "release tag",
    "_abs_path": "absolute path",
    "_local_path": "path",
    "_user": "user name",
    "_duration": "duration",
    "_https_url": "https URL",
    "_host_name": "host name or address",
    "_listener": "port/protocol",
    "_registry": "host:port of a registry",
    "_namespace": "path in a registry",
    "_image": "image:tag",
    "_network": "address or network",
    "_mirror": "URL of a mirror",
    "_container_name": "container name",
    "_sql_name": "SQL name",
    "_endpoint": "host:port or URL",
    "_kernel": "kernel version",
    "_package": "package, as `restic=0.18*`",
    "_node_name": "text",
}
COMMON = {  # told last
    name for fields in (RolloutFields, AddedFields, RegistryFields) for name in fields.model_fields
}
TABLE = "| variable | type | default | meaning | example |\n|---|---|---|---|---|"


def render() -> str:
    """Return the whole page."""
    sections = [
        HEAD,
        _section("Every stack", "stackpin_", Shared),
        _section("CRM", "crm_", CrmSettings),
        _section("Portal", "portal_", PortalSettings),
        _section("XingRin and its nodes", "xingrin_", XingrinServer),
        _section("InfraCore", "infracore_", InfracoreFiles),
        _product(),
        "## Entries of `crm_gate`\n\nAnd of `xingrin_gate` and `infracore_gate`.\n\n"
        + _entries(Gate),
        _checks(),
    ]
    return "\n".join(sections)


def label(  # noqa: PLR0911 - one return per shape of type
    annotation: Any,  # noqa: ANN401 - types are values here
    metadata: list[Any],
) -> str:
    """Say in words what a type accepts; `metadata` is what Annotated adds to it."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return label(inner, [*more, *metadata])
    named = [VALIDATED.get(getattr(getattr(m, "func", None), "__name__", "")) for m in metadata]
    if any(named):
        return next(name for name in named if name)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, python_types.UnionType):
        return " or ".join(dict.fromkeys(label(argument, metadata) for argument in arguments))
    if origin is Literal:
        return ", ".join(f'`"{argument}"`' for argument in arguments)
    if origin is dict:
        return f"mapping of name to {label(arguments[1], [])}"
    if origin is list:
        return f"list of {label(arguments[0], [])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "check, below" if issubclass(annotation, BaseCheck) else PARTS[annotation]
    return _plain(annotation) + _limits(metadata)


def _plain(annotation: Any) -> str:  # noqa: ANN401
    names = {str: "text", int: "whole number", float: "number", bool: "True or False"}
    return "None" if annotation is type(None) else names.get(annotation, "any JSON value")


def _limits(metadata: list[Any]) -> str:
    flat = [part for item in metadata for part in getattr(item, "metadata", [item])]
    if any(getattr(part, "pattern", "") == "^[0-9a-f]{64}$" for part in flat):
        return " of 64 hexadecimal digits"
    words = {"gt": "above", "ge": "from", "lt": "below", "le": "to"}
    found = {
        name: f"{word} {getattr(part, name):g}"
        for part in flat
        for name, word in words.items()
        if isinstance(getattr(part, name, None), int | float)
    }
    return f" ({' '.join(found[name] for name in words if name in found)})" if found else ""


def _section(title: str, prefix: str, model: type[BaseModel]) -> str:
    also = model.also if issubclass(model, StackSettings) else {}
    rows = [
        _row(prefix + name, info)
        for name, info in sorted(model.model_fields.items(), key=lambda item: item[0] in COMMON)
        if name not in also and name not in INTERNAL
    ]
    return f"## {title}: `{prefix}*`\n\n{TABLE}\n" + "\n".join(rows) + "\n"


def _row(variable: str, info: FieldInfo) -> str:
    default = _default(info)
    example = info.examples[0] if info.examples else info.get_default(call_default_factory=True)
    cells = [
        f"`{variable}`",
        label(info.annotation, info.metadata),
        default,
        info.description or "",
        f"`{variable} = {_code(example)}`",
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "**required**"
    value = info.get_default(call_default_factory=True)
    return "the file below" if isinstance(value, ProductConfig) else f"`{_code(value)}`"


def _code(value: Any) -> str:  # noqa: ANN401
    """Python text of a value, quoted as the rest of an inventory is."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_code(k)}: {_code(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_code, value)) + "]"
    return repr(value)


def _product() -> str:
    config, ports = ProductConfig(), PublicPorts()
    return (
        "### The product's file\n\n`infracore_config` overrides entries of it at any depth; a "
        "list is replaced as a whole. Ports, the\ndatabase's path and the secret that signs tokens "
        "have variables of their own.\n\n```yaml\n"
        f"{infracore_yaml.text(infracore_yaml.document(config, ports, f'{DATA}/console.db'))}```\n"
    )


def _entries(model: type[BaseModel], skip: frozenset[str] = frozenset()) -> str:
    lines = ["| entry | type | default | meaning |", "|---|---|---|---|"]
    for name, info in model.model_fields.items():
        if name not in skip:
            kind = label(info.annotation, info.metadata)
            shown = info.alias or name
            text = info.description or ""
            lines.append(f"| `{shown}` | {kind} | {_default(info)} | {text} |")
    return "\n".join(lines) + "\n"


def _checks() -> str:
    return "\n".join(_check_pages())


def _check_pages() -> Iterator[str]:
    yield "## Checks (`crm_extra_checks`, `portal_extra_checks`)\n"
    yield "And `xingrin_extra_checks`, `infracore_extra_checks`."
    yield "Each is a mapping with a `kind` and these entries:\n"
    yield _entries(BaseCheck)
    for name, model in CHECK_KINDS.items():
        yield f"### kind `{name}`\n\n{(model.__doc__ or '').strip()}\n"
        place = model.model_fields["where"].default
        if place != BaseCheck.model_fields["where"].default:
            yield f'`where` is `"{place}"` unless set.\n'
        yield _entries(model, frozenset({*BaseCheck.model_fields, "kind"}))


if __name__ == "__main__":
    sys.stdout.write(render())
