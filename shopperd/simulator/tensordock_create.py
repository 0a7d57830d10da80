"""The rules of a TensorDock v2 create, and the validation errors that the service answers with (a top-level array)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from shopperd.simulator.dock_market import Resources

IMAGES = (
    "ubuntu2204",
    "ubuntu2404",
    "ubuntu2404_ml_everything",
    "ubuntu2404_ml_pytorch",
    "ubuntu2404_ml_tensorflow",
    "windows10",
)
RAM_GB = (2, 4, 6, 8, 10, *range(16, 257, 16), 512)
STORAGE_MIN_GB = 100
SSH_PORT = 22
_ATTRIBUTES = ("data", "attributes")


@frozen
class Wish:
    """A create as it was understood. Exactly one of `location_id` and `node_id` is set."""

    name: str
    image: str
    resources: Resources
    location_id: str | None
    node_id: str | None
    dedicated_ip: bool
    ports: tuple[int, ...]


Issue = dict[str, Any]


def _issue(code: str, message: str, *path: str, **more: Any) -> Issue:
    return {"code": code, **more, "path": [*_ATTRIBUTES, *path], "message": message}


def read_wish(body: Any) -> Wish | list[Issue]:
    """Read a create's body: the wish, or everything that is wrong with it at once. Unknown keys are let through."""
    attributes = body.get("data", {}).get("attributes") if _nested(body) else None
    if not isinstance(attributes, Mapping):
        issue = _issue("invalid_type", "Required", expected="object", received="undefined")
        return [issue]
    issues: list[Issue] = []
    name = attributes.get("name")
    if not isinstance(name, str) or not name:
        issues.append(_issue("invalid_type", "Required", "name", expected="string", received="undefined"))
    image = _image(attributes, issues)
    resources = _resources(attributes, issues)
    location, node = attributes.get("location_id"), attributes.get("hostnode_id")
    if bool(location) == bool(node):
        text = "Exactly one of location_id and hostnode_id is required"
        issues.append(_issue("custom", text, "location_id"))
    if location and resources is not None and not resources.gpus:
        issues.append(_issue("custom", "At least one GPU is required with location_id", "resources", "gpus"))
    _check_key(attributes, image, issues)
    dedicated = attributes.get("useDedicatedIp") is True
    ports = _ports(attributes, issues)
    if image.startswith("ubuntu") and not dedicated and SSH_PORT not in ports:
        issues.append(_issue("custom", "SSH port (22) must be forwarded for Ubuntu VMs", "port_forwards"))
    if issues or resources is None or not isinstance(name, str):
        return issues
    return Wish(
        name,
        image,
        resources,
        str(location) if location else None,
        str(node) if node else None,
        dedicated,
        ports,
    )


def _nested(body: Any) -> bool:
    return isinstance(body, Mapping) and isinstance(body.get("data"), Mapping)


def _image(attributes: Mapping[str, Any], issues: list[Issue]) -> str:
    image = attributes.get("image")
    if image in IMAGES:
        return str(image)
    expected = " | ".join(f"'{name}'" for name in IMAGES)
    text = f"Invalid enum value. Expected {expected}, received '{image}'"
    issues.append(_issue("invalid_enum_value", text, "image", options=list(IMAGES), received=image))
    return ""


def _resources(attributes: Mapping[str, Any], issues: list[Issue]) -> Resources | None:
    resources = attributes.get("resources")
    if not isinstance(resources, Mapping):
        issues.append(_issue("invalid_type", "Required", "resources", expected="object", received="undefined"))
        return None
    sizes: dict[str, int] = {}
    for name in ("vcpu_count", "ram_gb", "storage_gb"):
        size = resources.get(name)
        if isinstance(size, bool) or not isinstance(size, int) or size <= 0:
            issues.append(_issue("invalid_type", "Expected a positive integer", "resources", name))
        else:
            sizes[name] = size
    if len(sizes) < 3:
        return None
    if sizes["vcpu_count"] % 2:
        issues.append(_issue("custom", "vCPU count must be even", "resources", "vcpu_count"))
    if sizes["ram_gb"] not in RAM_GB:
        issues.append(_issue("custom", f"RAM must be one of {list(RAM_GB)}", "resources", "ram_gb"))
    if sizes["storage_gb"] < STORAGE_MIN_GB:
        text = f"Storage must be at least {STORAGE_MIN_GB} GB"
        issues.append(_issue("too_small", text, "resources", "storage_gb", minimum=STORAGE_MIN_GB))
    gpus = _gpus(resources.get("gpus"), issues)
    return Resources(sizes["vcpu_count"], sizes["ram_gb"], sizes["storage_gb"], gpus)


def _gpus(wanted: Any, issues: list[Issue]) -> dict[str, int]:
    """The map of v0 name to count; the older list form is no longer taken."""
    if wanted is None:
        return {}
    found: dict[str, int] = {}
    if not isinstance(wanted, Mapping):
        issues.append(_issue("invalid_type", "Expected object", "resources", "gpus", expected="object"))
        return found
    for name, entry in wanted.items():
        count = entry.get("count") if isinstance(entry, Mapping) else None
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            issues.append(
                _issue("invalid_type", "Expected a positive integer", "resources", "gpus", str(name), "count")
            )
        else:
            found[str(name)] = count
    return found


def _check_key(attributes: Mapping[str, Any], image: str, issues: list[Issue]) -> None:
    keys = [name for name in ("ssh_key", "ssh_key_id") if attributes.get(name)]
    if len(keys) == 2:
        issues.append(_issue("custom", "Provide either ssh_key or ssh_key_id, not both", "ssh_key"))
    elif not keys and not image.startswith("windows"):
        issues.append(_issue("custom", "SSH key is required", "ssh_key"))


def _ports(attributes: Mapping[str, Any], issues: list[Issue]) -> tuple[int, ...]:
    """The internal ports; external ones are a wish that the service does not grant."""
    wanted = attributes.get("port_forwards") or []
    if not isinstance(wanted, list):
        issues.append(_issue("invalid_type", "Expected array", "port_forwards", expected="array"))
        return ()
    asked = [entry.get("internal_port") for entry in wanted if isinstance(entry, Mapping)]
    ports = [port for port in asked if isinstance(port, int) and 0 < port < 65_536]
    if len(ports) < len(wanted):
        issues.append(_issue("invalid_type", "Expected a port number", "port_forwards", "internal_port"))
        return ()
    return tuple(ports)
