"""Which files belong to a partition: a path template is filled in and looked up, on this machine or at a remote address.

No file outside the template's root is ever read; the root is the folder before the first placeholder or wildcard.
"""

import glob
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from string import Formatter
from typing import Self
from zoneinfo import ZoneInfo

from pydantic import ConfigDict, Field, field_validator

from rowledger.errors import SourceError, SpecError
from rowledger.sources.source_file import WEB, WILDCARD, SourceFile
from rowledger.spec import Partition, Source, SourceContext

__all__ = ["FileSource"]

_STORES = {"s3", "gs", "gcs", "abfs", "abfss"}
_ADDRESS = re.compile(r"^(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://")
_IPV6_HOST = re.compile(r"\[[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*\](?=:|$)")
_HOST_AND_PORT = re.compile(rf"({_IPV6_HOST.pattern}|[^:]*)(:\d*)?")
_PASSWORD = re.compile(r"(?<=://)([^/:@]*):[^/]*(?=@)")
_VARIABLE = re.compile(r"[*?\[]|\{(?!landing\})")
_LANDING = "{landing}"
_SOME_TIME = datetime(2024, 1, 1, tzinfo=UTC)
_BOUNDS = ("lower", "upper")
_BOUND = re.compile(r"(lower|upper)(\.(year|month|day|hour))?")


class FileSource(Source):
    """A source that consists of files."""

    model_config = ConfigDict(hide_input_in_errors=True)  # an address may contain a token, although it should not

    path: str = Field(
        min_length=1,
        description=(
            "Template of the files' path or address, e.g. {landing}/flights/{partition_key}.parquet or "
            "s3://bucket/{partition_key}/*.parquet: with {landing} (the landing folder), {partition_key}, {lower} and {upper} "
            "(the bounds of its time window, as {lower:%Y-%m}), the names of a key's dimensions where it has two, and the "
            "wildcards *, ?, […] and **."
        ),
    )

    @field_validator("path")
    @classmethod
    def _sound_template(cls, value: str) -> str:
        scheme = _ADDRESS.match(value)
        if scheme:
            _require_no_credentials(value)  # before any other message shows the address
        shown = _without_secrets(value) if scheme else value
        try:
            names = _placeholders(value)
        except ValueError as error:
            raise SpecError(f"path {shown!r}: {error}") from None
        if not all(name.isidentifier() for name in names):
            raise SpecError(
                f"path {shown!r}: a placeholder is a name, as {{landing}} or {{partition_key}}, or a bound of the time "
                "window in its format, as {lower:%Y-%m}"
            )
        if ".." in re.split(r"[/\\{:}]", value):  # a bound's format may have it too
            raise SpecError(f"path {shown!r} goes up by '..'; write the path of the folder itself")
        if _LANDING in value[1:]:
            raise SpecError(f"path {shown!r}: {{landing}} is a whole folder, so it can only be the beginning of a path")
        if scheme:
            _require_sound_address(value, scheme["scheme"].lower())
        return value

    @property
    def placeholders(self) -> frozenset[str]:
        return _placeholders(self.path) - {"landing", *_BOUNDS}

    def without_secrets(self) -> Self:
        """The source without an address's query, which may be a signature or a token, and without a password before `@`."""
        if not _ADDRESS.match(self.path):
            return self
        return self.model_copy(update={"path": _without_secrets(self.path)})

    def files(self, partition: Partition, scope: SourceContext) -> Iterator[SourceFile]:
        """The partition's files, at least one, in the order of their names; raises SourceError.

        A remote file is fetched when the iterator reaches it.
        """
        values = partition.placeholders
        names = _placeholders(self.path)
        path = self._with_bounds(partition)
        for key in (value for name, value in values.items() if name in names):
            if key in {"", ".", ".."} or any(c in key for c in "/\\\0"):
                raise SourceError(f"partition key {key!r} cannot be part of a path: it would leave its folder")
        if _ADDRESS.match(self.path):
            from rowledger.sources.remote_files import remote_files  # noqa: PLC0415, it imports filesystems that no worker needs

            found = remote_files(path, values, scope)
        else:
            found = (
                SourceFile(file, str(file), file.name) for file in self._local_files(path, values, scope.landing_dir)
            )
        if (first := next(found, None)) is None:
            raise SourceError(
                f"no file {path.format(landing=scope.landing_dir, **values)}; write it first (materialize the asset that "
                "makes it, if there is one), or fix the spec's path"
            )
        yield first
        yield from found

    def local_bytes(self, partition: Partition, landing_dir: Path) -> int | None:
        if _ADDRESS.match(self.path):
            return None
        files = self._local_files(self._with_bounds(partition), partition.placeholders, landing_dir)
        return sum(file.stat().st_size for file in files)

    def _with_bounds(self, partition: Partition) -> str:
        """The template, with the bounds of the partition's window filled in, as local times of its time zone."""
        window, parts = partition.window, []
        for literal, name, form, _ in Formatter().parse(self.path):
            parts.append(literal.replace("{", "{{").replace("}", "}}"))
            if name is None:
                continue
            bound = _BOUND.fullmatch(name)
            if bound is None or bound[1] in partition.placeholders:
                parts.append(f"{{{name}}}")
                continue
            if window is None:
                raise SourceError(f"the path has {{{name}}}, but partition {partition.key!r} is not one window of time")
            moment = window.lower if bound[1] == "lower" else window.upper
            parts.append(_formatted(bound, moment.astimezone(ZoneInfo(window.timezone)), form or ""))
        return "".join(parts)

    def _local_files(self, path: str, values: Mapping[str, str], landing_dir: Path) -> list[Path]:
        literal = {name: glob.escape(value) for name, value in values.items()}
        pattern = path.format(landing=glob.escape(str(landing_dir)), **literal)
        found = glob.glob(pattern, recursive=True)  # noqa: PTH207, Path.glob takes no absolute pattern
        files = sorted(Path(name).absolute() for name in found if not Path(name).is_dir())
        if (variable := _VARIABLE.search(self.path)) is not None:
            folder, slash, _ = self.path[: variable.start()].rpartition("/")
            _require_inside(files, Path((folder + slash).format(landing=landing_dir)).absolute())
        return files


def _placeholders(template: str) -> frozenset[str]:
    """The names in braces, with their conversions and formats; raises ValueError for an unmatched brace."""
    names = set()
    for _, name, form, conversion in Formatter().parse(template):
        if name is None:
            continue
        bound = _BOUND.fullmatch(name)
        if bound is None or conversion or "{" in (form or ""):
            names.add(f"{name}{'!' if conversion else ''}{form}")
        else:
            _formatted(bound, _SOME_TIME, form or "")
            names.add(bound[1])
    return frozenset(names)


def _formatted(bound: re.Match[str], moment: datetime, form: str) -> str:
    """A bound, or the part of it that is named, in the format; raises ValueError."""
    return format(getattr(moment, bound[3]) if bound[3] else moment, form)


def _require_inside(files: list[Path], root: Path) -> None:
    """Raise SourceError for a file that a link in its path takes out of `root`."""
    true_root = root.resolve()
    for file in files:
        if not file.resolve().is_relative_to(true_root):
            raise SourceError(
                f"{file} is a link that leads out of {root}; put the file itself there, or fix the spec's path"
            )


def _without_secrets(address: str) -> str:
    return _PASSWORD.sub(r"\1", address).partition("?")[0]


def _require_no_credentials(address: str) -> None:
    """Raise SpecError, without the address, where a password is before the host; one with a slash looks like a port."""
    scheme, _, rest = address.partition("://")
    _, at, host = rest.partition("/")[0].rpartition("@")
    separates_container = scheme.lower().startswith("abfs")
    if (at and not separates_container) or not _HOST_AND_PORT.fullmatch(host):
        raise SpecError(
            "path holds credentials before an '@', or a port that is not a number; give credentials by the environment instead"
        )


def _require_sound_address(template: str, scheme: str) -> None:
    """Raise SpecError for an address with an unknown scheme, or with a wildcard that cannot be resolved."""
    shown = _without_secrets(template)
    if scheme not in WEB | _STORES:
        raise SpecError(f"path {shown!r}: {scheme}:// is not known; known are {', '.join(sorted(WEB | _STORES))}")
    place, _, below = template.partition("://")[2].partition("/")
    if scheme in WEB:
        place = _IPV6_HOST.sub("ipv6", place)
    if not place or WILDCARD.search(place) or "{" in place:
        raise SpecError(f"path {shown!r}: bucket or host has to be named in full")
    if scheme in WEB and re.search(r"[*\[]", below):
        raise SpecError(f"path {shown!r}: a web server has no listing, so wildcards find nothing there; name one file")
