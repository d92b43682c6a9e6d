"""What has to be the same on all hosts of a run: the code that reads, checks and encodes a row."""

import hashlib
import platform
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version as version_of
from pathlib import Path

from rowledger.contract import signature_of
from rowledger.spec import TableSpec
from rowledger.version import version

__all__ = ["code_versions", "contract_digest", "differences"]

_LIBRARIES = ("asyncpg", "jiter", "numpy", "pgpq", "polars", "pyarrow", "pydantic", "pydantic-core")
_SHOWN = 12


@cache
def code_versions() -> dict[str, str]:
    """The versions of Python, of Rowledger with a digest of its files, and of the libraries that a value passes."""
    found = {"Python": f"{platform.python_implementation()} {sys.version_info.major}.{sys.version_info.minor}"}
    found["rowledger"] = f"{version()} ({_digest_of_package()[:_SHOWN]})"
    for library in _LIBRARIES:
        try:
            found[library] = version_of(library)
        except PackageNotFoundError:  # bundled in another way
            found[library] = "unknown"
    return found


def contract_digest(spec: TableSpec) -> str:
    """SHA-256 over the row model and the transform as they are here: their fields, rules and Python code."""
    digest = hashlib.sha256(signature_of(spec.row).encode())
    if spec.transform is not None:
        digest.update(spec.transform.source_code.encode(errors="backslashreplace"))
    return digest.hexdigest()


def differences(heads: Mapping[str, str], own: Mapping[str, str]) -> str:
    """The versions that differ, as a phrase; empty where none does."""
    names = sorted({*heads, *own}, key=str.lower)
    different = [name for name in names if heads.get(name) != own.get(name)]
    return ", ".join(f"{name} {own.get(name, 'none')} instead of {heads.get(name, 'none')}" for name in different)


def _digest_of_package() -> str:
    """Over the Python files of the package: two checkouts may have the same version and other code."""
    package = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        digest.update(file.relative_to(package).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
