"""Tables made by hand that refuse rows by a rule that no contract knows."""

from pipeline_tests.support.database import fetch

SOUR = " (sour)"
"""What a text ends in that a table made by `SOUR_TABLES` refuses, and that no contract knows to be wrong."""

SOUR_TABLES = {
    "events": "create table public.events (at timestamptz not null, event_id integer not null, name text not null, "
    "amount double precision not null, note text, code varchar(8) not null, primary key (at, event_id), "
    "constraint no_sour_name check (name not like '%(sour)')) partition by range (at)",
    "orders": "create table public.orders (order_id integer not null primary key, day date not null, item text not null, "
    "constraint no_sour_item check (item not like '%(sour)'))",
    "parcels": "create schema depot; create table depot.parcels (day date, parcel_id integer, label text, "
    "constraint no_sour_label check (label not like '%(sour)'))",
}
"""Tables as loads would make them, each with a rule of its own."""


def make_sour_table(database: str, table: str) -> None:
    """The table as a load would make it, with a rule of its own: no text ends in SOUR."""
    for statement in SOUR_TABLES[table].split("; "):
        fetch(database, statement)
