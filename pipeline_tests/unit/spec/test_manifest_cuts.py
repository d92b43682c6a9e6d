"""The parts of a file, of any size, are joined and cut into chunks that are bounded in rows and in bytes."""

from hypothesis import given, strategies as st

from rowledger.sources.chunking import FilePart, cut_into_chunks

_PARTS = st.lists(st.builds(FilePart, st.integers(0, 60), st.integers(0, 3_000)), max_size=12)


@given(parts=_PARTS, chunk_rows_max=st.integers(1, 40), chunk_bytes_max=st.integers(1, 2_000))
def test_cuts_hold_every_row_once_within_both_limits(
    parts: list[FilePart], chunk_rows_max: int, chunk_bytes_max: int
) -> None:
    cuts = list(cut_into_chunks(parts, chunk_rows_max, chunk_bytes_max))

    assert [cut.offset for cut in cuts] == [sum(cut.rows for cut in cuts[:n]) for n in range(len(cuts))]
    assert sum(cut.rows for cut in cuts) == sum(part.rows for part in parts)
    assert all(0 < cut.rows <= chunk_rows_max for cut in cuts)
    bytes_of_rows = [part.data_bytes / part.rows for part in parts for _ in range(part.rows)]
    for offset, rows, _ in cuts:
        held = sum(bytes_of_rows[offset : offset + rows])
        assert rows == 1 or held <= chunk_bytes_max + max(bytes_of_rows[offset : offset + rows])


def test_a_chunk_has_about_the_bytes_of_its_rows() -> None:
    parts = [FilePart(10, 100), FilePart(5, 500), FilePart(40, 4_000), FilePart(2, 20)]

    cuts = list(cut_into_chunks(parts, 20, 1_000))

    assert [(cut.rows, cut.data_bytes) for cut in cuts] == [(15, 600)] + [(10, 1_000)] * 4 + [(2, 20)]
