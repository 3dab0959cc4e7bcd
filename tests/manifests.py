"""Kubernetes manifests as `kubectl kustomize` would write them, and whether they are valid.

Of kustomize this reads what the manifests here use, and refuses all else: resources, a namespace,
images, and patches by JSON Patch (RFC 6902) with a target. That Kubernetes would take the result is
said by Kubernetes' own schemas, for KEDA's kinds by the one beside the manifests.

    python -m tests.manifests docker/kubernetes/overlays/*
"""

import copy
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonpatch
import jsonschema
import kubernetes_validate
import yaml

KUBERNETES = Path(__file__).resolve().parents[1] / "docker" / "kubernetes"
OVERLAYS = sorted(path.name for path in (KUBERNETES / "overlays").iterdir())
# The oldest release that the manifests are meant for.
VERSION = "1.30"
KEDA = "keda.sh/v1alpha1"
KNOWN = {"apiVersion", "kind", "resources", "namespace", "images", "patches"}
WITHOUT_NAMESPACE = {"Namespace"}

Manifest = dict[str, Any]


def build(folder: Path) -> list[Manifest]:
    """All manifests of a kustomization.

    Raises:
        ValueError: it uses what is not read here, or a patch meets nothing.
    """
    chosen = yaml.safe_load((folder / "kustomization.yaml").read_text())
    if unknown := chosen.keys() - KNOWN:
        raise ValueError(f"{folder}: {', '.join(sorted(unknown))}: not read here")
    found: list[Manifest] = []
    for name in chosen.get("resources", []):
        path = (folder / name).resolve()
        found += build(path) if path.is_dir() else read(path)
    for patch in chosen.get("patches", []):
        found = _patched(found, patch, folder)
    for manifest in found:
        if "namespace" in chosen and manifest["kind"] not in WITHOUT_NAMESPACE:
            manifest["metadata"]["namespace"] = chosen["namespace"]
        for container in containers(manifest):
            container["image"] = _image(container["image"], chosen.get("images", []))
    return found


def read(path: Path) -> list[Manifest]:
    """The manifests of a file."""
    return list(yaml.safe_load_all(path.read_text()))


def containers(manifest: Manifest) -> list[dict[str, Any]]:
    """Of its pods; none where it makes no pods."""
    pod = manifest.get("spec", {}).get("template", {}).get("spec", {})
    return [*pod.get("initContainers", []), *pod.get("containers", [])]


def trouble(manifest: Manifest) -> str:
    """What Kubernetes or KEDA would not take; empty: nothing."""
    try:
        if manifest["apiVersion"] == KEDA:
            jsonschema.validate(manifest, json.loads((KUBERNETES / "keda.schema.json").read_text()))
        else:
            kubernetes_validate.validate(manifest, VERSION, strict=True)
    except jsonschema.ValidationError as error:
        place = ".".join(map(str, error.absolute_path))
        return f"{manifest['kind']} {manifest['metadata'].get('name')}: {place}: {error.message}"
    return ""


def _patched(manifests: list[Manifest], patch: dict[str, Any], folder: Path) -> list[Manifest]:
    text = patch["patch"] if "patch" in patch else (folder / patch["path"]).read_text()
    operations = jsonpatch.JsonPatch(yaml.safe_load(text))
    meets = [_is_target(manifest, patch["target"]) for manifest in manifests]
    if not any(meets):
        raise ValueError(f"{folder}: no manifest is {patch['target']}")
    # A copy for each: what is added must not be shared between manifests.
    return [
        copy.deepcopy(operations).apply(manifest) if is_target else manifest
        for manifest, is_target in zip(manifests, meets, strict=True)
    ]


def _is_target(manifest: Manifest, target: dict[str, str]) -> bool:
    if unknown := target.keys() - {"kind", "name", "labelSelector"}:
        raise ValueError(f"{', '.join(sorted(unknown))}: a target that is not read here")
    labels = manifest["metadata"].get("labels", {})
    wanted = dict(_pairs(target.get("labelSelector", "")))
    return (
        re.fullmatch(target.get("kind", ".*"), manifest["kind"]) is not None
        and re.fullmatch(target.get("name", ".*"), manifest["metadata"]["name"]) is not None
        and wanted.items() <= labels.items()
    )


def _pairs(selector: str) -> Iterator[tuple[str, str]]:
    for pair in filter(None, selector.split(",")):
        name, _, value = pair.partition("=")
        yield name.strip(), value.strip()


def _image(image: str, images: list[dict[str, str]]) -> str:
    for one in images:
        if one["name"] == image.partition(":")[0]:
            return f"{one.get('newName', one['name'])}:{one['newTag']}"
    return image


def main(folders: list[str]) -> int:
    """Check kustomizations; returns the exit status."""
    status = 0
    for folder in folders:
        manifests = build(Path(folder))
        found = [text for manifest in manifests if (text := trouble(manifest))]
        told = [*found, f"{len(manifests)} manifests, {len(found)} invalid"]
        sys.stdout.writelines(f"{folder}: {text}\n" for text in told)
        status |= bool(found)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
