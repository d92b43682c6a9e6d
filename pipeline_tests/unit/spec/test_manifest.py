"""Manifests: numbered without gaps, and with a digest that changes with content and cut alone."""

from typing import Any

import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from rowledger.spec.manifest import ChunkDescriptor, Manifest


def descriptor(**changes: Any) -> ChunkDescriptor:
    values = {"path": "/a", "file_bytes": 10, "file_mtime_ns": 1, "file_digest": "d", "row_offset": 0, "rows": 5}
    return ChunkDescriptor(**{**values, **changes})


@given(st.lists(st.integers(0, 1_000), max_size=30))
def test_chunks_are_numbered_in_order_without_gap_or_overlap(rows: list[int]) -> None:
    manifest = Manifest.of([descriptor(rows=count) for count in rows])

    assert [chunk.chunk_no for chunk in manifest.chunks] == list(range(len(rows)))
    assert [chunk.first_row for chunk in manifest.chunks] == [sum(rows[:number]) for number in range(len(rows))]
    assert manifest.enqueued_rows == sum(rows) == sum(chunk.rows for chunk in manifest.chunks)


@pytest.mark.parametrize("changes", [{"file_digest": "e"}, {"file_bytes": 11}, {"row_offset": 1}, {"rows": 6}])
def test_other_content_or_another_cut_is_another_digest(changes: dict[str, Any]) -> None:
    assert Manifest.of([descriptor(**changes)]).digest != Manifest.of([descriptor()]).digest


def test_the_same_bytes_written_again_or_elsewhere_are_the_same_digest() -> None:
    assert Manifest.of([descriptor(file_mtime_ns=2, path="/b")]).digest == Manifest.of([descriptor()]).digest


def test_the_order_of_chunks_belongs_to_the_digest() -> None:
    one, two = descriptor(rows=1), descriptor(rows=2)

    assert Manifest.of([one, two]).digest != Manifest.of([two, one]).digest


def test_the_same_rows_have_the_same_content_however_they_are_cut() -> None:
    def content(*cuts: tuple[str, int, int]) -> str:
        chunks = [descriptor(file_digest=digest, row_offset=first, rows=rows) for digest, first, rows in cuts]
        return Manifest.of(chunks).content_digest

    whole = content(("a", 0, 9), ("b", 0, 4))
    assert whole == content(("a", 0, 3), ("a", 3, 6), ("b", 0, 4)) == content(("a", 0, 9), ("b", 0, 1), ("b", 1, 3))
    others = [
        content(("a", 0, 9), ("b", 0, 5)),
        content(("b", 0, 4), ("a", 0, 9)),
        content(("a", 0, 9), ("a", 0, 9), ("b", 0, 4)),
        content(("a", 0, 3), ("a", 4, 5), ("b", 0, 4)),
        content(("a", 0, 9)),
        content(),
    ]
    assert len({whole, *others}) == len(others) + 1


def test_spooled_rows_have_the_content_of_the_rows_whatever_their_files_are() -> None:
    whole = Manifest.of([descriptor(file_digest="a", rows=9, rows_digest="x")])
    cut = Manifest.of(
        [
            descriptor(file_digest="b", rows=4, rows_digest="y"),
            descriptor(file_digest="c", rows=5, rows_digest="x"),
        ]
    )
    other = Manifest.of([descriptor(file_digest="a", rows=9, rows_digest="z")])

    assert whole.content_digest == cut.content_digest != other.content_digest


def test_no_rows_make_an_empty_manifest() -> None:
    assert Manifest.of([]).enqueued_rows == 0
    assert Manifest.of([]).digest != Manifest.of([descriptor()]).digest


def test_a_descriptor_survives_json_and_refuses_nonsense() -> None:
    assert ChunkDescriptor.model_validate_json(descriptor().model_dump_json()) == descriptor()
    with pytest.raises(ValidationError):
        descriptor(rows=-1)
