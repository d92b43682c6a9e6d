"""What is reported of a run with many partitions."""

from rowledger.ledger.counts import RowCounts
from rowledger.ledger.outcomes import Committed
from rowledger.ledger.reports import PartitionReport, Progress
from rowledger.load.progress import PartitionProgress, ProgressReporter


class _Observer:
    def __init__(self) -> None:
        self.reports: list[Progress] = []

    def log(self, level: int, message: str) -> None: ...

    def progress(self, progress: Progress) -> None:
        self.reports.append(progress)

    def finished(self, report: PartitionReport) -> None: ...


def _commit(partition: PartitionProgress, rows: int) -> None:
    partition.chunks += 1
    partition.enqueued_rows += rows
    counts = RowCounts(enqueued_rows=rows, written_rows=rows)
    partition.add(Committed(counts=counts, discarded_values=0, check_s=0))


def test_each_report_sums_up_partitions_that_are_done_that_load_and_that_wait() -> None:
    observer = _Observer()
    partitions = {key: PartitionProgress() for key in "abc"}
    reporter = ProgressReporter(observer, partitions)
    _commit(partitions["a"], 3)
    reporter._report()
    partitions["a"].done = True
    _commit(partitions["b"], 5)
    reporter._report()
    _commit(partitions["b"], 2)
    reporter._report()
    partitions["b"].done = True
    reporter._report()
    found = [(one.counts.written_rows, one.counts.enqueued_rows, one.partitions_done) for one in observer.reports]
    assert found == [(3, 3, 0), (8, 8, 1), (10, 10, 1), (10, 10, 2)]
    assert {one.partitions for one in observer.reports} == {3}
