"""Packs: folders of provider manifests in a Git work tree, and publishing a manifest into one."""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...serving.http import HttpError
from .checks import is_web_url, slug
from .gitrepo import GitRepository

FIRST_VERSION = "0.1.0"
_VERSION = re.compile(r"(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})", re.ASCII)

Json = dict[str, Any]


@dataclass(frozen=True)
class Publication:
    """What a publish left in the repository."""

    version: str
    commit: str
    changed: bool


class PackRepository:
    """The packs below `<root>/packs`. Without a root there are none and publishing is refused."""

    def __init__(self, root: Path | None) -> None:
        self._root = root

    def packs(self) -> list[Json]:
        """Every readable pack: id, name, version and number of providers."""
        found = []
        for folder in self._folders():
            manifest = _read_json(folder / "pack.json")
            if manifest is not None:
                found.append(
                    {
                        "id": folder.name,
                        "name": manifest.get("name", folder.name),
                        "version": manifest.get("version", ""),
                        "providers": len(list(folder.glob("providers/*.json"))),
                    }
                )
        return found

    def providers(self, pack_id: str) -> list[Json]:
        """Return the provider manifests of a pack; 404 when there is no such pack."""
        folder = next((f for f in self._folders() if f.name == pack_id), None)
        if folder is None:
            raise HttpError(404, f"there is no pack {pack_id!r}")
        manifests = (_read_json(path) for path in sorted(folder.glob("providers/*.json")))
        return [manifest for manifest in manifests if manifest is not None]

    def find_provider(self, provider_id: str) -> tuple[str, Json]:
        """Return the pack and the manifest of a provider; 404 when no pack has it."""
        for folder in self._folders():
            manifest = _read_json(folder / "providers" / f"{provider_id}.json")
            if manifest is not None:
                return folder.name, manifest
        raise HttpError(404, f"no pack has a provider {provider_id!r}")

    def publish(self, pack_id: str, provider_id: str, manifest: Json) -> Publication:
        """Write one provider into its pack and commit, completely or not at all."""
        slug(pack_id, "pack_id")
        slug(provider_id, "provider_id")
        if self._root is None:
            raise HttpError(412, "publishing needs SUB2API_CRM_REPO_ROOT")
        repository = GitRepository(self._root)
        repository.require_work_tree()
        folder = self._root / "packs" / pack_id
        content = _render({**manifest, "id": provider_id})
        with repository.change(f"packs/{pack_id}") as change:
            _refuse_links(self._root, folder)
            target = folder / "providers" / f"{provider_id}.json"
            if target.is_file() and target.read_bytes() == content:
                version = _version_of(folder)
                return Publication(version, repository.head(), changed=False)
            version = _bump(folder, pack_id)
            _write(target, content)
            _write(folder / "checksums.txt", _checksums(folder))
            validate_pack(folder)
            commit = change.commit(f"Publish {provider_id} in {pack_id} {version}")
        return Publication(version, commit, changed=True)

    def _folders(self) -> Iterator[Path]:
        try:
            entries = sorted((self._root / "packs").iterdir()) if self._root else []
        except OSError:
            return
        yield from (e for e in entries if e.is_dir() and not e.name.startswith("."))


def validate_pack(folder: Path) -> None:
    """Refuse a pack that an importer could not use, with 422 and every reason."""
    problems = []
    manifest = _read_json(folder / "pack.json") or {}
    if manifest.get("id") != folder.name:
        problems.append("pack.json: id is not the name of the folder")
    if not _VERSION.fullmatch(str(manifest.get("version"))):
        problems.append("pack.json: version is not major.minor.patch")
    for path in sorted(folder.glob("providers/*.json")):
        problems += [f"{path.name}: {why}" for why in provider_problems(path)]
    checksums = folder / "checksums.txt"
    if not checksums.is_file() or checksums.read_bytes() != _checksums(folder):
        problems.append("checksums.txt does not match the files")
    if problems:
        raise HttpError(422, "the pack is not valid: " + "; ".join(problems))


def provider_problems(path: Path) -> list[str]:
    """Tell what is wrong with one provider manifest."""
    manifest = _read_json(path)
    if manifest is None:
        return ["is not a JSON object"]
    problems = []
    if manifest.get("id") != path.stem:
        problems.append("id is not the name of the file")
    if not isinstance(manifest.get("display_name"), str) or not manifest["display_name"].strip():
        problems.append("display_name is missing")
    if not is_web_url(manifest.get("base_url")):
        problems.append("base_url is not an http or https URL")
    models = manifest.get("models")
    if not isinstance(models, list) or not all(isinstance(m, str) and m for m in models):
        problems.append("models is not a list of names")
    return problems


def _bump(folder: Path, pack_id: str) -> str:
    path = folder / "pack.json"
    if not path.exists():
        manifest: Json = {"id": pack_id, "name": pack_id, "version": FIRST_VERSION}
    else:
        manifest = _read_json(path) or {}
        parts = _VERSION.fullmatch(str(manifest.get("version")))
        if not parts:
            raise HttpError(422, "pack.json: version is not major.minor.patch")
        manifest["version"] = f"{parts[1]}.{parts[2]}.{int(parts[3]) + 1}"
    _write(path, _render(manifest))
    return str(manifest["version"])


def _version_of(folder: Path) -> str:
    return str((_read_json(folder / "pack.json") or {}).get("version", ""))


def _checksums(folder: Path) -> bytes:
    """One line for each file, as sha256sum writes and checks them."""
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "checksums.txt"
    )
    lines = (f"{hashlib.sha256((folder / n).read_bytes()).hexdigest()}  {n}\n" for n in names)
    return "".join(lines).encode()


def _refuse_links(root: Path, folder: Path) -> None:
    """Refuse links: one in the way could take the write out of the repository."""
    for path in (root / "packs", folder, folder / "providers"):
        if path.is_symlink():
            raise HttpError(409, f"{path.relative_to(root)} is a link; packs must be real folders")


def _render(value: Json) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True) + "\n").encode()


def _read_json(path: Path) -> Json | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _write(path: Path, content: bytes) -> None:
    """Replace a file in one step, so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(content)
    beside.replace(path)
