"""The variables of a stack: what they are now, and changing them where they are set."""

from __future__ import annotations

import ast
import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError, create_model
from pydantic.fields import FieldInfo

from stackpin import assignments, pins
from stackpin.config.common import INTERNAL, Shared
from stackpin.config.explain import explain, found, relevant
from stackpin.config.stacks import Stack
from stackpin.config.types import Model, SecretRef
from stackpin.engine.placing import chosen
from stackpin.engine.state import load_inventory
from stackpin.errors import Refused
from stackpin.rollout.checking import check_inventory, variable_sources

__all__ = ["Proposal", "Variable", "propose", "typed", "variables"]


@dataclass(frozen=True)
class Variable:
    """One variable: `values` by host (only where it is set) as texts, no secret among them.

    `files` are the group data files that set it, by host; "" for a host whose entry in the
    inventory itself does.
    """

    name: str
    model: type[BaseModel]
    prefix: str
    info: FieldInfo
    values: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    @property
    def default(self) -> str:
        """The default as text; of a required variable "required"."""
        if self.info.is_required():
            return "required"
        value = self.info.get_default(call_default_factory=True)
        return found(value.model_dump(mode="json") if isinstance(value, BaseModel) else value)

    @property
    def value(self) -> str:
        """The value as text: one for all hosts, or one for each; the default where none is set."""
        texts = dict.fromkeys(self.values.values())
        if len(texts) <= 1:
            return next(iter(texts), self.default)
        return ", ".join(f"{host}: {text}" for host, text in self.values.items())

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "name": self.name,
            "value": self.value,
            "values": self.values,
            "default": self.default,
            "description": self.info.description or "",
            "files": sorted(set(self.files.values())),
        }


@dataclass
class Proposal:
    """New contents of group data files: (before, after) by path, nothing written yet."""

    files: dict[Path, tuple[bytes, bytes]] = field(default_factory=dict)

    @property
    def changes(self) -> bool:
        """Whether anything would change."""
        return any(before != after for before, after in self.files.values())

    def diff(self) -> Iterator[str]:
        """Yield a unified diff."""
        for path, (before, after) in self.files.items():
            old, new = before.decode("utf-8").splitlines(), after.decode("utf-8").splitlines()
            yield from difflib.unified_diff(old, new, str(path), str(path), lineterm="", n=1)

    def validate(self, inventory: str, stack: Stack, data: Mapping[str, Any]) -> None:
        """Load and judge the whole inventory as it would be. Raises Refused with every problem."""
        after = {path: new for path, (_old, new) in self.files.items()}
        check_inventory(inventory, stack, (), data, artifacts=False, secrets=False, instead=after)

    def write(self) -> None:
        """Write the files; refuse one that changed since it was read."""
        for path, (before, after) in self.files.items():
            if before != after:
                assignments.write(path, before, after)


def variables(
    inventory: str, stack: Stack, limit: Sequence[str], data: Mapping[str, Any]
) -> dict[str, Variable]:
    """Return every variable of `stack` by name, with its values on the hosts of `limit`."""
    loaded = load_inventory(inventory, data)
    names = chosen(loaded, stack, limit, inventory)
    known = {one.name: one for one in _declared(stack)}
    for host in (host for host in loaded if host.name in names):
        path = Path(inventory)
        sources = variable_sources(path, ["all", *host.groups, path.stem], data)
        values: dict[str, Any] = host.data.dict()  # type: ignore[no-untyped-call]
        inline = loaded.get_host_data(host.name)  # in the inventory file, beside the host
        for name in known.keys() & values.keys():
            one = known[name]
            one.values[host.name] = _shown(one, values[name])
            own = name in inline and name not in data
            one.files[host.name] = "" if own else sources.get(name, "")
    return known


def typed(variable: Variable, text: str) -> Any:  # noqa: ANN401 - whatever the variable is
    """Read the value a user typed, as the variable's type takes it.

    Text where text is right, else JSON or Python: numbers, true or True, lists, mappings, None.
    Raises Refused with what was found and expected.
    """
    kind: Any = variable.info.annotation
    judge = create_model("Judge", __base__=Model, value=(kind, variable.info))
    problem: ValidationError | None = None
    for value in _readings(text):
        try:
            judge.model_validate({"value": value})
        except ValidationError as error:
            problem = error
        else:
            return value
    assert problem is not None  # noqa: S101 - there is at least one reading
    told = []
    field_name = variable.name.removeprefix(variable.prefix)
    hidden: frozenset[str] = getattr(variable.model, "hidden", frozenset())
    for one_error in relevant(problem.errors(include_url=False)):
        at = {**one_error, "loc": (field_name, *one_error["loc"][1:])}
        one = explain(variable.model, variable.prefix, at, hidden)
        remedy = one.remedy if "{file}" not in one.remedy else "Give another value."
        told.append(f"{one.variable}: found {one.found}, expected {one.expected}. {remedy}")
    raise Refused("\n".join(dict.fromkeys(told)))


def propose(
    inventory: str, known: Mapping[str, Variable], wanted: Mapping[str, Any], pin: str | None
) -> Proposal:
    """Work out the edits that give variables the `wanted` values, each where it is set today.

    One that is not set anywhere goes into the inventory's own group data. `pin` is the variable of
    the version, which is not for this. Raises Refused.
    """
    made = Proposal()
    for name, value in wanted.items():
        if name == pin:
            raise Refused(
                f"{name}: is the version; expected `stackpin update`, which locks and rolls it out"
            )
        path = _place(Path(inventory), known[name])
        try:
            before = path.read_bytes()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise Refused(f"{path}: found {reason}, expected a group data file. Make it.") from None
        before, now = made.files.get(path, (before, before))
        made.files[path] = (before, assignments.edited(now, path, name, value))
    return made


def _declared(stack: Stack) -> Iterator[Variable]:
    """Yield the variables of every part, those of the tool itself last."""
    for part in stack.components():
        assert part.model is not None  # noqa: S101 - components have models
        for name, info in part.model.model_fields.items():
            if name not in part.model.also:
                yield Variable(part.prefix + name, part.model, part.prefix, info)
    for name, info in Shared.model_fields.items():
        if name not in INTERNAL:
            yield Variable(f"stackpin_{name}", Shared, "stackpin_", info)


def _readings(text: str) -> list[Any]:
    """List what a text may mean: itself first."""
    found: list[Any] = [text]
    for read in (json.loads, ast.literal_eval):
        try:
            found.append(read(text))
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return found


def _shown(variable: Variable, value: object) -> str:
    """Return a value as text; of what may hold a secret only references."""
    name = variable.name.removeprefix(variable.prefix)
    hidden = name in getattr(variable.model, "hidden", ())
    if "SecretRef" in str(variable.info.annotation) or hidden:
        entries = value.values() if isinstance(value, dict) else [value]
        hidden = not all(entry is None or _is_reference(entry) for entry in entries)
    return found(value, hide=hidden)


def _is_reference(value: object) -> bool:
    try:
        SecretRef.model_validate(value)
    except ValidationError:
        return False
    return True


def _place(inventory: Path, variable: Variable) -> Path:
    files = set(variable.files.values())
    if not files:
        return pins.pin_file(inventory)
    if "" in files:
        hosts = ", ".join(host for host, file in variable.files.items() if not file)
        raise Refused(
            f"{inventory}: found {variable.name} set for {hosts} in the inventory itself, expected "
            "it in group data. Change it there by hand."
        )
    if "--data" in files:
        raise Refused(f"--data {variable.name}: expected the variable to be given once")
    if len(files) > 1:
        raise Refused(
            f"{variable.name}: found it set in {', '.join(sorted(files))}, for different hosts; "
            "expected one file. Change it there by hand."
        )
    return Path(files.pop())
