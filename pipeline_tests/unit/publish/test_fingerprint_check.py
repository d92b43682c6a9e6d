from rowledger.contract.fingerprint import Fingerprint
from rowledger.publish.reconcile import fingerprint_check


def test_of_many_columns_that_differ_the_first_are_named_and_the_others_counted() -> None:
    expected = Fingerprint({f"c{number}": (9, 1) for number in range(19)})
    found = Fingerprint({f"c{number}": (8, 1) for number in range(19)})
    check = fingerprint_check(expected, found)
    assert not check.passed
    assert check.summary == (
        "c0: 9 values against 8; c1: 9 values against 8; c2: 9 values against 8; c3: 9 values against 8; "
        "c4: 9 values against 8; and 14 more columns"
    )
    assert check.details == {"columns_that_differ": 19}
