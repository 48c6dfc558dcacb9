"""What this machine is, as far as it decides which engine conforms and which is fastest."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from intact.engine.backends import find

NOTABLE: Final = (
    *("sse4_1", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512_vnni", "avx_vnni", "avx512_bf16"),
    *("amx_int8", "amx_bf16", "neon", "asimd", "asimddp", "i8mm", "sve", "bf16"),
)
"""Instruction sets that engines choose kernels by."""

CPUINFO: Final = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """This machine.

    Args:
        system: Operating system and its kernel's machine name, such as "Linux x86_64".
        cpu: Model of the processor, or "unknown".
        features: The notable instruction sets it has; empty where the system does not say.
        flags_digest: SHA-256 over all the flags the system lists.
        cores: Cores this process may use.
        memory_bytes: Physical memory, or None where the system does not say.
        engines: Version of every installed engine.
    """

    system: str
    cpu: str
    features: tuple[str, ...]
    flags_digest: str
    cores: int
    memory_bytes: int | None
    engines: Mapping[str, str]


@lru_cache(maxsize=1)
def describe() -> Host:
    """Return what this machine is."""
    info = _cpuinfo()
    flags = sorted(set(info.get("flags", info.get("Features", "")).split()))
    model = info.get("model name") or " ".join(info[k] for k in ("CPU implementer", "CPU part") if k in info)
    return Host(
        system=f"{platform.system()} {platform.machine()}",
        cpu=model or platform.processor() or "unknown",
        features=tuple(name for name in NOTABLE if name in flags),
        flags_digest=hashlib.sha256(" ".join(flags).encode()).hexdigest(),
        cores=_cores(),
        memory_bytes=_memory_bytes(),
        engines=_engines(),
    )


def fingerprint(host: Host) -> str:
    """Return a digest that changes when the processor or an engine does; memory does not count."""
    record = {**asdict(host), "engines": dict(host.engines), "memory_bytes": None}
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _cpuinfo() -> dict[str, str]:
    """Return the first processor's entries; none on systems without the file."""
    try:
        text = CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _engines() -> dict[str, str]:
    installed = {}
    for name, backend in find().items():
        try:
            installed[name] = version(backend.package or "intact")
        except PackageNotFoundError:
            continue
    return installed
