"""Remote files: find them, and fetch each once into the spool folder, where they are read like local files.

Object stores are read through pyarrow's filesystems, web addresses through urllib. Credentials come from where these libraries
look for them (for S3 the usual `AWS_…` variables); an address never contains any. Messages leave out an address from its `?`
on.
"""

import errno
import glob
import http.client
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote

import pyarrow as pa
import xxhash
from pyarrow import fs

from rowledger.errors import NotEnoughSpace, SourceError
from rowledger.machine import require_free_space
from rowledger.settings import s3_endpoint
from rowledger.sources.durable_writes import durable_file
from rowledger.sources.file_identity import file_digest
from rowledger.sources.source_file import FETCHED, WEB, WILDCARD, SourceFile
from rowledger.spec import SourceContext

__all__ = ["fetch_again", "remote_files"]

_BLOCK_BYTES = 1 << 20
_TIMEOUT_S = 60.0
"""Seconds without a byte after which a server counts as lost."""

_CAUSE = re.compile(r"AWS Error [A-Z_]+|HTTP status \d+|curlCode: \d+")


_Body = tuple[BinaryIO | pa.NativeFile, int | None]
"""A file's stream, and its size in bytes where that is known in advance."""


def remote_files(template: str, values: Mapping[str, str], scope: SourceContext) -> Iterator[SourceFile]:
    """The files of a partition, if any, in the order of their names, each fetched before it is yielded; raises SourceError."""
    scheme, _, rest = template.partition("://")
    scheme = scheme.lower()
    if scheme in WEB:
        address = template.format(**{name: quote(value, safe="") for name, value in values.items()})
        shown = address.partition("?")[0]
        yield _fetched(_opened_address(address, shown), address, shown, unquote(shown.rpartition("/")[2]), scope)
        return
    place, _, below = rest.partition("/")
    store, bucket = _store(scheme, place)
    for path in _found(store, f"{bucket}/", below, values, scheme):
        origin = f"{scheme}://{path}"
        yield _fetched(_opened_object(store, path, origin), origin, origin, path.rpartition("/")[2], scope)


def fetch_again(origin: str, copy: Path, *, digest: str, disk_free_min_bytes: int) -> None:
    """Fetch an object that another machine has planned; raises SourceError where its bytes have another digest by now."""
    scheme, _, path = origin.partition("://")
    place = path.partition("/")[0]
    store, _ = _store(scheme.lower(), place)
    with _opened_object(store, path, origin) as (stream, size):
        _copy(stream, size, copy, origin, disk_free_min_bytes)
    if file_digest(copy) != digest:
        copy.unlink()
        raise SourceError(f"{origin}: its content changed since it was planned; rerun to plan and load it as it is now")


# ---- object stores ----------------------------------------------------------------------------------------------------------


def _store(scheme: str, place: str) -> tuple[fs.FileSystem, str]:
    """The filesystem and its bucket or container."""
    if scheme == "s3":
        # pyarrow does not read the variable that names another endpoint.
        endpoint, connect_s = s3_endpoint(), _TIMEOUT_S / 6
        return fs.S3FileSystem(endpoint_override=endpoint, connect_timeout=connect_s, request_timeout=_TIMEOUT_S), place
    store, bucket = fs.FileSystem.from_uri(f"{'gs' if scheme == 'gcs' else scheme}://{place}")
    return store, bucket.rstrip("/")


def _found(store: fs.FileSystem, bucket: str, below: str, values: Mapping[str, str], scheme: str) -> list[str]:
    """The paths that match, sorted."""
    try:
        if (wildcard := WILDCARD.search(below)) is None:
            (info,) = store.get_file_info([bucket + below.format(**values)])
            return [info.path] if info.type == fs.FileType.File else []
        root = bucket + below[: wildcard.start()].format(**values).rpartition("/")[0]
        listed = store.get_file_info(fs.FileSelector(root.rstrip("/"), recursive=True, allow_not_found=True))
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"{scheme}://{bucket}{below}: cannot be looked up ({_cause(error)})") from None
    pattern = below.format(**{name: glob.escape(value) for name, value in values.items()}).split("/")
    found = (info.path for info in listed if info.type == fs.FileType.File)
    return sorted(path for path in found if _matches(path.removeprefix(bucket).split("/"), pattern))


def _matches(path: list[str], pattern: list[str]) -> bool:
    """Whether the parts of a path match those of a pattern, as in `glob`: `**` is any number of folders, `.x` is hidden."""
    if not pattern:
        return not path
    hidden = bool(path) and path[0].startswith(".") and not pattern[0].startswith(".")
    if pattern[0] == "**":
        return _matches(path, pattern[1:]) or (bool(path) and not hidden and _matches(path[1:], pattern))
    return bool(path) and not hidden and fnmatchcase(path[0], pattern[0]) and _matches(path[1:], pattern[1:])


@contextmanager
def _opened_object(store: fs.FileSystem, path: str, origin: str) -> Iterator[_Body]:
    try:
        (info,) = store.get_file_info([path])
        with store.open_input_stream(path, compression=None) as stream:
            yield stream, info.size
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"{origin}: cannot be fetched ({_cause(error)})") from None


# ---- the web ----------------------------------------------------------------------------------------------------------------


@contextmanager
def _opened_address(address: str, shown: str) -> Iterator[_Body]:
    request = urllib.request.Request(address, headers={"Accept-Encoding": "identity"})  # noqa: S310, scheme was looked at
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:  # noqa: S310, as above
            length = response.headers.get("Content-Length", "")
            yield response, int(length) if length.isdecimal() else None
    except urllib.error.HTTPError as error:
        error.close()
        raise SourceError(f"{shown}: cannot be fetched (HTTP status {error.code})") from None
    except (OSError, http.client.HTTPException) as error:
        raise SourceError(f"{shown}: cannot be fetched ({_cause(error)})") from None


# ---- the copy ---------------------------------------------------------------------------------------------------------------


def _fetched(
    opened: AbstractContextManager[_Body], address: str, origin: str, name: str, scope: SourceContext
) -> SourceFile:
    """A copy in the spool folder, complete and flushed to disk; it is fetched unless it exists already."""
    # The name keeps its ending; characters other than letters, digits, dots, hyphens and underscores are replaced.
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)[-80:]
    copy = scope.spool_dir / f"{FETCHED}{xxhash.xxh3_128_hexdigest(address.encode())}-{plain}"
    if not copy.exists():
        with opened as (stream, size):
            _copy(stream, size, copy, origin, scope.disk_free_min_bytes)
    return SourceFile(copy, origin, name, fetched=True)


def _copy(body: BinaryIO | pa.NativeFile, size: int | None, copy: Path, origin: str, disk_free_min_bytes: int) -> None:
    require_free_space(copy.parent, disk_free_min_bytes + (size or 0))
    fetched = 0
    try:
        with durable_file(copy) as stream:
            while block := body.read(_BLOCK_BYTES):
                fetched += len(block)
                if size is None:
                    require_free_space(copy.parent, disk_free_min_bytes)
                stream.write(block)
            if size is not None and fetched != size:
                raise SourceError(f"{origin}: ended after {fetched:,} of {size:,} bytes; rerun to fetch it anew")
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise NotEnoughSpace(
                f"{copy}: {error.strerror} after {fetched:,} bytes of {origin}; make room on that disk and rerun"
            ) from None
        raise


def _cause(error: BaseException) -> str:
    """The cause of an error without the library's text, which may quote an address with a signature, or a key's id."""
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, BaseException):
        error = error.reason
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        return os.strerror(error.errno)
    known = _CAUSE.search(str(error))
    return known[0] if known else type(error).__name__
