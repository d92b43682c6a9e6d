"""Texts that are plainly internet addresses, converted at column speed to the bytes of an inet; `inet` converts the rest."""

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from rowledger.contract.inet import INET_HEADERS

__all__ = ["addresses_from_text"]


_OCTET = r"(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_V4 = rf"^{_OCTET}(\.{_OCTET}){{3}}$"
_GROUP = "[0-9a-fA-F]{1,4}"
_GROUPS = f"{_GROUP}(:{_GROUP})"
_V6 = rf"^({_GROUPS}{{7}}|({_GROUPS}{{0,6}})?::({_GROUPS}{{0,6}})?)$"
_V6_GROUPS = 8


def addresses_from_text(texts: pl.Series, *, v4: bool, v6: bool) -> pl.Series:
    """The bytes of each text that is plainly an address of a requested version; null for every other text."""
    parts = [pl.Series([None], dtype=pl.Binary)]
    take = np.zeros(len(texts), dtype=np.int64)  # index 0, the null, unless a part has the text's bytes
    is_v4 = texts.str.contains(_V4)
    masks = [(is_v4, _v4_octets)] if v4 else []
    if v6 and not is_v4.all():
        is_short = texts.str.contains("::", literal=True)
        groups = texts.str.count_matches(_GROUP)
        masks.append((texts.str.contains(_V6) & (groups + is_short <= _V6_GROUPS), _v6_octets))
    for mask, octets_of in masks:
        if len(rows := mask.arg_true()):
            take[rows] = sum(map(len, parts)) + np.arange(len(rows))
            parts.append(_with_header(octets_of(texts.gather(rows))))
    return pl.concat(parts).gather(take).alias(texts.name)


def _with_header(octets: npt.NDArray[np.uint8]) -> pl.Series:
    size = octets.shape[1]
    header = np.array(INET_HEADERS[4 if size == 4 else 6], dtype=np.uint8)  # noqa: PLR2004
    whole = np.ascontiguousarray(np.hstack([np.broadcast_to(header, (len(octets), len(header))), octets]))
    array = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(whole.shape[1]), len(whole), [None, pa.py_buffer(whole.tobytes())]
    )
    return pl.Series(array.cast(pa.large_binary()))


def _v4_octets(texts: pl.Series) -> npt.NDArray[np.uint8]:
    return texts.str.split_exact(".", 3).struct.unnest().select(pl.all().cast(pl.UInt8)).to_numpy()


def _v6_octets(texts: pl.Series) -> npt.NDArray[np.uint8]:
    """`::` fills the groups up to eight with zeros; at most seven groups may accompany it."""
    halves = texts.str.split_exact("::", 1).struct.unnest().fill_null("")
    before, after = (
        pl.when(pl.col(name) == "").then(pl.lit([], dtype=pl.List(pl.String))).otherwise(pl.col(name).str.split(":"))
        for name in halves.columns
    )
    zeros = pl.lit("0").repeat_by(_V6_GROUPS - before.list.len() - after.list.len())
    groups = halves.select(pl.concat_list(before, zeros, after)).to_series().explode()
    numbers = groups.str.to_integer(base=16, dtype=pl.UInt16).to_numpy()
    return numbers.astype(">u2").view(np.uint8).reshape(-1, 2 * _V6_GROUPS)
