"""The shapes of texts: which of them read as numbers, dates, times, Booleans, and in which notation."""

from enum import StrEnum

__all__ = ["BOOLEANS", "CONVERTIBLE_DATES", "DECIMAL_SIGNS", "NULL_MARKERS", "PATTERNS", "Shape"]


class Shape(StrEnum):
    """What a text looks like. A text has one shape."""

    INTEGER = "integer"
    ZERO_LED = "integer with leading zeros"
    PLUS_INTEGER = "integer with a plus"
    DECIMAL = "decimal"
    EXPONENT = "number with an exponent"
    GROUPED = "number with commas between thousands"
    DECIMAL_COMMA = "number with a decimal comma"
    DOT_GROUPED = "number with points between thousands"
    BLANK_GROUPED = "number with blanks between thousands"
    APOSTROPHE_GROUPED = "number with apostrophes between thousands"
    AMBIGUOUS_COMMA = "number with one comma, for thousands or for decimals"
    AMBIGUOUS_POINT = "number with one point, for thousands or for decimals"
    TRUE_FALSE = "true or false"
    YES_NO = "yes or no"
    Y_N = "Y or N"
    T_F = "T or F"
    ON_OFF = "on or off"
    FOREIGN_YES_NO = "yes or no in another language"
    DATE = "date"
    TIMESTAMP = "timestamp"
    INSTANT = "timestamp with zone"
    NANOSECONDS = "timestamp with nanoseconds"
    TIME = "time"
    UUID = "UUID"
    YEAR_FIRST = "date with the year first"
    DAY_OR_MONTH_FIRST = "date with the year last"
    DAY_OR_MONTH_FIRST_TIME = "timestamp with the year last"
    SHORT_YEAR = "date with a year of two digits"
    MONTH_NAME = "date with the month's name"
    MARKED = "number with a currency, a percent sign or another minus"
    DOCUMENT = "text in braces or brackets"
    TEXT = "text"


_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}"
_ZONE = r" ?(?:Z|UTC|[+-][0-9]{2}(?::?[0-9]{2})?)"
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_MARKED = r"[0-9](?:[0-9.,' \x{a0}\x{202f}]*[0-9])?"
_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"

PATTERNS: dict[Shape, str] = {
    Shape.INTEGER: r"^-?(?:0|[1-9][0-9]*)$",
    Shape.DECIMAL: r"^[+-]?(?:[0-9]+\.(?:[0-9]{0,2}|[0-9]{4,})|(?:0[0-9]*|[0-9]{4,})\.[0-9]{3}|\.[0-9]+)$",
    Shape.DATE: rf"^{_DAY}$",
    Shape.TIMESTAMP: rf"^{_DAY}[T ]{_CLOCK}(?:\.[0-9]{{1,6}}0*)?)?$",
    Shape.INSTANT: rf"^{_DAY}[T ]{_CLOCK}(?:\.[0-9]{{1,6}}0*)?)?{_ZONE}$",
    Shape.NANOSECONDS: rf"^{_DAY}[T ]{_CLOCK}\.[0-9]{{6}}[0-9]*[1-9])(?:{_ZONE})?$",
    Shape.TIME: rf"^{_CLOCK}(?:\.[0-9]{{1,6}})?)?$",
    Shape.ZERO_LED: r"^[+-]?0[0-9]+$",
    Shape.PLUS_INTEGER: r"^\+(?:0|[1-9][0-9]*)$",
    Shape.EXPONENT: r"^(?:[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][+-]?[0-9]+|[+-]?(?i:inf|infinity))$",
    Shape.GROUPED: r"^[+-]?[1-9][0-9]{0,2}(?:(?:,[0-9]{3}){2,}(?:\.[0-9]+)?|,[0-9]{3}\.[0-9]+)$",
    Shape.AMBIGUOUS_COMMA: r"^[+-]?[1-9][0-9]{0,2},[0-9]{3}$",
    Shape.AMBIGUOUS_POINT: r"^[+-]?[1-9][0-9]{0,2}\.[0-9]{3}$",
    Shape.DECIMAL_COMMA: (r"^[+-]?(?:[0-9]+,(?:[0-9]{1,2}|[0-9]{4,})|(?:0[0-9]*|[0-9]{4,}),[0-9]{3}|,[0-9]+)$"),
    Shape.DOT_GROUPED: r"^[+-]?[1-9][0-9]{0,2}(?:(?:\.[0-9]{3}){2,}(?:,[0-9]+)?|\.[0-9]{3},[0-9]+)$",
    Shape.BLANK_GROUPED: r"^[+-]?[1-9][0-9]{0,2}(?:[ \x{a0}\x{202f}][0-9]{3})+(?:[.,][0-9]+)?$",
    Shape.APOSTROPHE_GROUPED: r"^[+-]?[1-9][0-9]{0,2}(?:['\x{2019}][0-9]{3})+(?:\.[0-9]+)?$",
    Shape.TRUE_FALSE: r"^(?i:true|false)$",
    Shape.YES_NO: r"^(?i:yes|no)$",
    Shape.Y_N: r"^(?i:y|n)$",
    Shape.T_F: r"^(?i:t|f)$",
    Shape.ON_OFF: r"^(?i:on|off)$",
    Shape.FOREIGN_YES_NO: r"^(?i:ja|nein|oui|non|s[ií]|tak|nie|wahr|falsch|vrai|faux|verdadero|falso)$",
    Shape.UUID: rf"^{_UUID}$",
    Shape.YEAR_FIRST: r"^[0-9]{4}(?:[/.][0-9]{1,2}[/.][0-9]{1,2}|-[0-9]-[0-9]{1,2}|-[0-9]{2}-[0-9])(?:[ T][0-9:.]+)?$",
    Shape.DAY_OR_MONTH_FIRST: r"^[0-9]{1,2}(?:/[0-9]{1,2}/|\.[0-9]{1,2}\.|-[0-9]{1,2}-)[0-9]{4}$",
    Shape.DAY_OR_MONTH_FIRST_TIME: (
        r"^[0-9]{1,2}(?:/[0-9]{1,2}/|\.[0-9]{1,2}\.|-[0-9]{1,2}-)[0-9]{4},? [0-9]{1,2}:[0-9]{2}.*$"
    ),
    Shape.SHORT_YEAR: r"^[0-9]{1,2}(?:/[0-9]{1,2}/|\.[0-9]{1,2}\.|-[0-9]{1,2}-)[0-9]{2}(?: [0-9:]+)?$",
    Shape.MONTH_NAME: rf"^(?i:[0-9]{{1,2}}[ -]{_MONTH}[ -][0-9]{{2,4}}|{_MONTH} [0-9]{{1,2}},? [0-9]{{4}})$",
    Shape.MARKED: (
        rf"^(?:[(+-]?(?:[$€£¥] ?-?|\x{{2212}}[$€£¥]? ?){_MARKED}\)?|[(+-]?{_MARKED}[ \x{{a0}}\x{{202f}}]?[%$€£¥]\)?"
        rf"|\({_MARKED}\)|{_MARKED}-)$"
    ),
    Shape.DOCUMENT: r"^(?:\{.*\}|\[.*\])$",
}
"""The shapes that are looked for, the frequent ones first; no text matches two of them."""

BOOLEANS = (Shape.TRUE_FALSE, Shape.YES_NO, Shape.Y_N, Shape.T_F, Shape.ON_OFF)

DECIMAL_SIGNS: dict[Shape, tuple[str, ...]] = {
    Shape.INTEGER: ("",), Shape.PLUS_INTEGER: ("",), Shape.DECIMAL: ("",), Shape.GROUPED: (".",), Shape.DECIMAL_COMMA: (",",),
    Shape.DOT_GROUPED: (",",), Shape.BLANK_GROUPED: (".", ","), Shape.APOSTROPHE_GROUPED: (".", ","),
    Shape.AMBIGUOUS_COMMA: (".", ","), Shape.AMBIGUOUS_POINT: (".", ","),
}  # fmt: skip
"""What may be the sign of decimals in numbers of each shape; empty where the number is plain."""

CONVERTIBLE_DATES = (
    Shape.YEAR_FIRST, Shape.DAY_OR_MONTH_FIRST, Shape.DAY_OR_MONTH_FIRST_TIME, Shape.SHORT_YEAR, Shape.MONTH_NAME,
)  # fmt: skip
"""Dates in notations that the contract reads as text alone."""

NULL_MARKERS = (
    "", "NA", "N/A", "n/a", "na", "NULL", "Null", "null", "None", "none", "NaN", "nan", "NAN", "-nan", "\\N", "#N/A", "#NA",
    "<NA>", "NaT", "nil", "-", "--", ".", "..", "?",
)  # fmt: skip
"""Texts that programs write where there is no value."""
