"""Fingerprints: exact, additive, and faithful to the hash functions they imitate."""

import hashlib
import random
from decimal import Decimal, localcontext

import numpy as np
import polars as pl
from hypothesis import given, strategies as st

from rowledger.contract.fingerprint import Fingerprint
from rowledger.contract.fingerprint_sql import fingerprint_query, read_fingerprint
from rowledger.contract.frame_totals import fingerprint_frame
from rowledger.contract.pg_hash import hash_byte_strings, hash_doubles, hash_int64s
from rowledger.spec.column import Column, ColumnType, TypeName

COLUMNS = (
    Column("n", ColumnType(TypeName.BIGINT), nullable=True),
    Column("d", ColumnType(TypeName.NUMERIC, precision=38, scale=4), nullable=True),
    Column("t", ColumnType(TypeName.TEXT), nullable=True),
    Column("flag", ColumnType(TypeName.BOOLEAN), nullable=True),
)
LIMIT = 10**38 - 1
ROW = st.tuples(
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none()
    | st.integers(-LIMIT, LIMIT).map(lambda n: Decimal(f"{n}e-4")),  # exact, as arithmetic in 28 digits is not
    st.none() | st.text(max_size=30),
    st.none() | st.booleans(),
)


def frame(rows: list[tuple[object, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={column.name: column.type.frame_type for column in COLUMNS}, orient="row")


# select hashtext(v), hashfloat8(v), hashint8(v) on PostgreSQL 18.6; the integration tests ask the server at hand.
HASHTEXT = [-1477818771, 1075015857, 1021725223, 652846557, 1341586837]
HASHFLOAT8 = [0, 0, 630860146, -1275764840, -1275764840, -2133226302]
HASHINT8 = [-272711505, 385747274, -1905060026, -1524351049, -96758253]


def hashes(*strings: bytes) -> list[int]:
    offsets = np.cumsum([0, *map(len, strings)], dtype=np.int64)
    return [int(value) for value in hash_byte_strings(np.frombuffer(b"".join(strings), dtype=np.uint8), offsets)]


@given(st.lists(ROW, max_size=20), st.integers(0, 20))
def test_fingerprints_of_parts_add_up_to_that_of_the_whole(rows: list[tuple[object, ...]], cut: int) -> None:
    whole = fingerprint_frame(frame(rows), COLUMNS)
    first, rest = fingerprint_frame(frame(rows[:cut]), COLUMNS), fingerprint_frame(frame(rows[cut:]), COLUMNS)

    assert first + rest == whole
    assert whole - rest == first
    assert fingerprint_frame(frame(rows)[cut:], COLUMNS) == rest


@given(st.lists(ROW, max_size=20))
def test_sums_are_exact_whatever_their_size(rows: list[tuple[object, ...]]) -> None:
    got = fingerprint_frame(frame(rows), COLUMNS)

    assert got["n"] == (sum(row[0] is not None for row in rows), sum(row[0] or 0 for row in rows))  # type: ignore[misc]
    units = [int(f"{row[1]:f}".replace(".", "")) for row in rows if row[1] is not None]
    assert got["d"] == (len(units), Decimal(f"{sum(units)}e-4"))


@given(st.lists(ROW, max_size=10))
def test_json_brings_the_same_fingerprint_back(rows: list[tuple[object, ...]]) -> None:
    fingerprint = fingerprint_frame(frame(rows), COLUMNS)

    assert Fingerprint.from_json(fingerprint.to_json()) == fingerprint


@given(st.lists(ROW, min_size=1, max_size=10), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter_but_a_lost_or_doubled_row_does(
    rows: list[tuple[object, ...]], shuffler: random.Random
) -> None:
    shuffled = shuffler.sample(rows, len(rows))

    assert fingerprint_frame(frame(shuffled), COLUMNS) == fingerprint_frame(frame(rows), COLUMNS)
    if any(value is not None for value in rows[0]):
        assert fingerprint_frame(frame(rows[1:]), COLUMNS) != fingerprint_frame(frame(rows), COLUMNS)
        assert fingerprint_frame(frame([*rows, rows[0]]), COLUMNS) != fingerprint_frame(frame(rows), COLUMNS)


def test_no_rows_make_the_empty_fingerprint() -> None:
    assert fingerprint_frame(frame([]), COLUMNS) == Fingerprint.empty(COLUMNS)


def test_differences_name_the_column_and_never_a_value() -> None:
    mine, other = (
        fingerprint_frame(frame([(1, None, "a", True)]), COLUMNS),
        fingerprint_frame(frame([(2, None, "a", True)]), COLUMNS),
    )

    assert mine.differences(other) == ["n: 1 values on both sides, but not the same ones"]
    assert mine.differences(mine) == []
    assert other.differences(Fingerprint.empty(COLUMNS[:1])) != []


def test_a_column_that_one_side_lacks_counts_as_null_in_all_of_its_rows() -> None:
    rows = frame([(2, Decimal("1.5"), "a", True), (3, None, "b", None)])
    older = fingerprint_frame(rows.select(column.name for column in COLUMNS[:2]), COLUMNS[:2])
    newer = fingerprint_frame(rows, COLUMNS)

    total = older + newer

    assert total == newer + older
    assert (total["n"], total["t"]) == ((4, 10), newer["t"])
    assert total - newer == Fingerprint.empty(COLUMNS) + older
    count, hashed = newer["t"]
    assert (older - newer)["t"] == (-count, -hashed)


def test_a_result_is_read_by_position_and_whole_decimals_equal_ints() -> None:
    figures = [2, Decimal(3), 1, Decimal("2.50"), 1, 7, 1, 0]

    rows, got = read_fingerprint(COLUMNS, [(0, 2, figures)])

    assert rows == 2
    assert got == Fingerprint({"n": (2, 3), "d": (1, Decimal("2.5")), "t": (1, 7), "flag": (1, 0)})
    assert all(isinstance(got[name][1], int) for name in ("n", "t", "flag"))


def test_columns_that_cannot_be_null_count_as_many_values_as_there_are_rows() -> None:
    columns = (Column("n", ColumnType(TypeName.BIGINT), nullable=False), COLUMNS[2])

    assert "count(n)" not in fingerprint_query(columns, lambda name: name, "t")
    assert read_fingerprint(columns, [(0, 5, [40, 2, 7])]) == (5, Fingerprint({"n": (5, 40), "t": (2, 7)}))


def test_the_figures_of_a_wide_table_come_in_several_rows_in_any_order() -> None:
    columns = [Column(f"c{number}", ColumnType(TypeName.BIGINT), nullable=True) for number in range(801)]
    figures = list(range(1_602))

    rows, got = read_fingerprint(columns, [(1_600, 9, figures[1_600:]), (0, 9, figures[:1_600])])

    assert fingerprint_query(columns, lambda name: name, "t").count("union all") == 1
    assert rows == 9
    assert (got["c0"], got["c799"], got["c800"]) == ((0, 1), (1_598, 1_599), (1_600, 1_601))


def test_few_distinct_strings_have_the_same_total_as_if_each_were_hashed() -> None:
    values = ["", "AIR", "REG AIR", "DELIVER IN PERSON", "é€😀"] * 1_000
    columns = (Column("t", ColumnType(TypeName.TEXT), nullable=False),)

    total = fingerprint_frame(pl.DataFrame({"t": values}), columns)["t"][1]

    assert total == 1_000 * sum(hashes(*(value.encode() for value in values[:5])))


@given(st.lists(st.binary(max_size=70), min_size=1, max_size=30))
def test_a_string_hashes_alike_alone_and_among_others(strings: list[bytes]) -> None:
    assert hashes(*strings) == [hashes(string)[0] for string in strings]


def test_a_few_long_strings_hash_alike_alone_and_among_many() -> None:
    long = [bytes(range(256)) * count for count in (5, 40, 333, 334)]
    strings = [b"ab", *long, *(b"short one" for _ in range(100)), b"x" * 4_000]

    assert hashes(*strings) == [hashes(string)[0] for string in strings]
    assert hashes(*long * 5) == [hashes(string)[0] for string in long] * 5


def test_one_value_of_many_digits_keeps_all_of_them_in_the_sum() -> None:
    columns = (Column("n", ColumnType(TypeName.NUMERIC), nullable=False),)
    values = ["0.1", "7" * 100_000 + "." + "3" * 16_000, "2.25", "-5", "Infinity"]

    fingerprint = fingerprint_frame(pl.DataFrame({"n": values}), columns)

    expected = Decimal("7" * 100_000 + "." + "3" * 16_000)
    with localcontext(prec=150_000):
        assert fingerprint["n"] == (5, expected + Decimal("0.1") + Decimal("2.25") - 5 + 1_000_033)
    assert Fingerprint.from_json(fingerprint.to_json()) == fingerprint


def test_hashes_are_those_that_postgresql_18_gave() -> None:
    assert hashes(b"", b"a", b"hello world", b"twelve bytes", b"x" * 200) == HASHTEXT
    assert hash_doubles(np.array([0.0, -0.0, 1.5, np.nan, -np.nan, np.inf])).tolist() == HASHFLOAT8
    assert hash_int64s(np.array([0, -1, 1, 2**63 - 1, -(2**63)])).tolist() == HASHINT8


def test_long_values_count_by_their_digests_wherever_they_stand_among_short_ones() -> None:
    long = ["x" * 70_000, "ü" * 40_000]
    digests = [hashlib.sha256(value.encode()).hexdigest() for value in long]
    column = [Column("v", ColumnType(TypeName.TEXT), nullable=True)]
    for order in ([0, None, "a", 1, "b"], [1, "b", "a", 0, None], [None, 1, 0, "a", "b"]):
        given, same = ([found[n] if isinstance(n, int) else n for n in order] for found in (long, digests))
        frames = [pl.DataFrame({"v": pl.Series(values, dtype=pl.String)}) for values in (given, same)]
        first, second = (fingerprint_frame(frame, column) for frame in frames)
        assert first == second
        assert first == fingerprint_frame(frames[0].slice(0, 2).vstack(frames[0].slice(2)), column)
