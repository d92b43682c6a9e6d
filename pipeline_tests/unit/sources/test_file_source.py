"""A template's files are found in name order, here or behind an address, and nothing outside of its root is read."""

import http.server
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from pydantic import ValidationError

from rowledger.errors import NotEnoughSpace, SourceError
from rowledger.sources.parquet import ParquetFiles
from rowledger.sources.remote_files import _cause, _matches
from rowledger.sources.source_file import SourceFile
from rowledger.spec.condition import Window
from rowledger.spec.partition import Partition
from rowledger.spec.source import SourceContext

KEY = "2024-01-01"


def find(path: str, landing: Path, key: str = KEY, **limits: int) -> list[SourceFile]:
    spool = landing.parent / "spool"
    spool.mkdir(exist_ok=True)
    return list(ParquetFiles(path=path).files(Partition(key=key), SourceContext(landing, spool, 10, **limits)))


def found(path: str, landing: Path, key: str = KEY) -> list[str]:
    return [str(file.path.relative_to(landing)) for file in find(path, landing, key)]


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    folder = tmp_path / "landing"
    for name in ["b.csv", "a.csv", ".hidden.csv", "deep/er/c.csv", "2024-01-01.csv", "x[1].csv", "x1.csv"]:
        (folder / "t" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "t" / name).write_text(name)
    return folder


def test_files_are_found_in_the_order_of_their_names(landing: Path) -> None:
    assert found("{landing}/t/?.csv", landing) == ["t/a.csv", "t/b.csv"]
    assert found("{landing}/t/**/[bc].csv", landing) == ["t/b.csv", "t/deep/er/c.csv"]
    assert found("{landing}/t/{partition_key}.csv", landing) == ["t/2024-01-01.csv"]
    assert found("{landing}/t/{partition_key}.csv", landing, "x[1]") == ["t/x[1].csv"]


def _in_window(path: str, landing: Path, timezone: str = "UTC") -> list[str]:
    lower, upper = (datetime(2024, 3, hour, 23, tzinfo=UTC) for hour in (1, 2))
    partition = Partition("key", (Window("at", lower, upper, timezone),))
    source = ParquetFiles(path=path)
    assert source.placeholders <= {"partition_key"}
    return [
        file.origin.removeprefix(f"{landing}/") for file in source.files(partition, SourceContext(landing, landing, 10))
    ]


@pytest.mark.parametrize(
    ("path", "timezone", "name"),
    [
        ("{lower:%Y-%m-%d}.csv", "UTC", "2024-03-01.csv"),
        ("{lower:%Y-%m-%d}.csv", "Europe/Berlin", "2024-03-02.csv"),
        ("year={lower:%Y}/month={lower.month}/h={lower:%H}.csv", "UTC", "year=2024/month=3/h=23.csv"),
        ("{lower:%Y/%m}/{lower.day:03}.csv", "UTC", "2024/03/001.csv"),
        ("{lower:%d}-{upper:%d}-{partition_key}.csv", "UTC", "01-02-key.csv"),
        ("{lower:%d}*.csv", "UTC", "01 {x}.csv"),
        ("{lower:%d} {{x}}.csv", "UTC", "01 {x}.csv"),
    ],
)
def test_a_path_may_have_the_bounds_of_the_window(landing: Path, path: str, timezone: str, name: str) -> None:
    (landing / name).parent.mkdir(parents=True, exist_ok=True)
    (landing / name).write_text("")
    assert _in_window(f"{{landing}}/{path}", landing, timezone) == [name]


def test_a_bound_of_a_partition_that_is_no_window_is_named(landing: Path) -> None:
    with pytest.raises(SourceError, match=r"the path has \{lower\}, but partition 'eu' is not one window of time"):
        find("{landing}/{lower:%Y}.csv", landing, "eu")


@pytest.mark.parametrize("placeholder", ["lower.month:%m", "lower.minute", "lower!r", "lower:{x}", "partition_key:%Y"])
def test_a_placeholder_that_is_neither_a_name_nor_a_formatted_bound_is_refused(placeholder: str) -> None:
    with pytest.raises(ValidationError, match=r"a placeholder is a name|Invalid format"):
        ParquetFiles(path=f"{{landing}}/{{{placeholder}}}.csv")


def test_a_relative_path_serves_as_well(landing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(landing / "t")

    assert found("{partition_key}.csv", landing) == ["t/2024-01-01.csv"]
    assert found("*a.csv", landing) == ["t/a.csv"]


@pytest.mark.parametrize(
    "path",
    ["{landing}/../t/{partition_key}.csv", "/data/../{partition_key}", "..", "s3://b/../x", "s3://b/{lower:../%Y}"],
)
def test_a_template_that_goes_up_is_refused_when_the_spec_is_made(path: str) -> None:
    with pytest.raises(ValidationError, match=r"goes up by '\.\.'"):
        ParquetFiles(path=path)


def test_the_landing_folder_can_only_be_the_beginning() -> None:
    with pytest.raises(ValidationError, match="only be the beginning"):
        ParquetFiles(path="/data/{landing}/x.csv")


@pytest.mark.parametrize("template", ["{landing}/t/{partition_key}.csv", "{landing}/t/*.csv", "{landing}/t/**/*.csv"])
def test_a_link_that_leads_out_of_the_root_is_refused(landing: Path, template: str) -> None:
    secret = landing / "secret.csv"
    secret.write_text("secret")
    (landing / "t" / f"{KEY}.csv").unlink()
    (landing / "t" / f"{KEY}.csv").symlink_to(secret)

    with pytest.raises(SourceError, match=rf"t/{KEY}\.csv is a link that leads out of .*/landing/t;"):
        find(template, landing)


def test_a_folder_that_is_a_link_out_of_the_root_is_refused(landing: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "z.csv").touch()
    (landing / "t" / "door").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(SourceError, match="leads out of"):
        find("{landing}/t/*/z.csv", landing)


def test_links_within_the_root_and_a_root_that_is_a_link_are_followed(landing: Path) -> None:
    (landing / "t" / "link.csv").symlink_to("deep/er/c.csv")
    (landing / "u").symlink_to(landing / "t")

    assert found("{landing}/t/l*.csv", landing) == ["t/link.csv"]
    assert found("{landing}/u/l*.csv", landing) == ["u/link.csv"]


def test_a_file_that_is_named_in_full_may_be_a_link(landing: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.csv").touch()
    (landing / "t" / "link.csv").symlink_to(tmp_path / "elsewhere.csv")

    assert found("{landing}/t/link.csv", landing) == ["t/link.csv"]


def test_what_is_shown_of_a_local_file_is_its_path(landing: Path) -> None:
    (file,) = find("{landing}/t/a.csv", landing)

    assert file == SourceFile(landing / "t/a.csv", str(landing / "t/a.csv"), "a.csv")


# ---- addresses ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("ftp://host/x", "ftp:// is not known"),
        ("https://user:canary@host/x", "holds credentials"),
        ("s3://canary:secret@bucket/x", "holds credentials"),
        ("ftp://user:canary@host/x", "holds credentials"),
        ("https://user:canary@host/../x", "holds credentials"),
        ("https://user:can@canary@host/x", "holds credentials"),
        ("https://user:canary/secret@host/x", "holds credentials"),
        ("https://user:canary?secret@host/x", "holds credentials"),
        ("abfss://data:canary/secret@account/x", "holds credentials"),
        ("abfss://data:can@canary@account/*/../x", "goes up by"),
        ("abfss://data:can?canary@account/../x", "goes up by"),
        ("https://host:canary/x", "holds credentials"),
        ("s3://{partition_key}/x", "named in full"),
        ("s3://buck*/x", "named in full"),
        ("https:///x", "named in full"),
        ("https://[::1/x", "a port that is not a number"),
        ("https://[ab]/x", "named in full"),
        ("s3://[::1]/x", "named in full"),
        ("https://[::1]/[ab].csv?token=canary", "has no listing"),
        ("https://user:canary@[::1]/x", "holds credentials"),
        ("https://[::1]:canary/x", "holds credentials"),
        ("https://host/*.csv?token=canary", "has no listing"),
        ("ftp://host/x?token=canary", "is not known"),
        ("https://host/../x?token=canary", "goes up by"),
        ("https://host/{x!r}?token=canary", "a placeholder is a name"),
    ],
)
def test_an_unsound_address_is_refused_without_repeating_its_secrets(address: str, reason: str) -> None:
    with pytest.raises(ValidationError) as refused:
        ParquetFiles(path=address)

    messages = "; ".join(error["msg"] for error in refused.value.errors(include_input=False))
    assert reason in messages
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize(
    "address",
    [
        "https://host:8443/a@b.csv", "https://host/a:b.csv", "abfss://data@account/x", "https://[::1]/a.csv",
        "http://[2001:DB8::192.0.2.1]:8443/a?b",
    ],
)  # fmt: skip
def test_ports_and_signs_in_a_path_are_no_credentials(address: str) -> None:
    source = ParquetFiles(path=address)

    assert source.without_secrets().path == address.partition("?")[0]


class _Served(http.server.BaseHTTPRequestHandler):
    content: ClassVar[bytes] = b"content\n" * 1000
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path.startswith("/missing"):
            self.send_error(404)
            return
        self.send_response(200)
        if not self.path.startswith("/unsized"):
            missing = 5 if self.path.startswith("/short") else 0
            self.send_header("Content-Length", str(len(self.content) + missing))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *_: object) -> None:
        pass


class _Server6(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6


@pytest.fixture(params=["127.0.0.1", "::1"])
def web(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a web server."""
    _Served.asked.clear()
    kind, shown = (_Server6, "[::1]") if request.param == "::1" else (http.server.ThreadingHTTPServer, "127.0.0.1")
    try:
        listening = kind((request.param, 0), _Served)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with listening as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        try:
            yield f"http://{shown}:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()


def test_a_file_of_the_web_is_fetched_once_and_shown_without_what_follows_the_question_mark(
    landing: Path, web: str
) -> None:
    template = f"{web}/a/{{partition_key}}.csv.gz?token=canary&day={{partition_key}}"

    (file,) = find(template, landing, "a b?[1]#")
    again = find(template, landing, "a b?[1]#")

    assert again == [file]
    assert file.path.read_bytes() == _Served.content
    assert file.path.parent == landing.parent / "spool"
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert file.name == "a b?[1]#.csv.gz"
    assert file.path.name.endswith(".csv.gz")
    assert "canary" not in repr(file)
    assert _Served.asked == ["/a/a%20b%3F%5B1%5D%23.csv.gz?token=canary&day=a%20b%3F%5B1%5D%23"]


def test_two_addresses_that_differ_behind_the_question_mark_are_two_files(landing: Path, web: str) -> None:
    (one,) = find(f"{web}/x?day={{partition_key}}", landing, "1")
    (two,) = find(f"{web}/x?day={{partition_key}}", landing, "2")

    assert one.path != two.path


def test_a_file_of_unknown_size_is_fetched_to_its_end(landing: Path, web: str) -> None:
    (file,) = find(f"{web}/unsized", landing)

    assert file.path.read_bytes() == _Served.content


@pytest.mark.parametrize(
    ("path", "reason"),
    [("/missing?canary", "HTTP status 404"), ("/short?canary", "ended after 8,000 of 8,005 bytes")],
)
def test_what_cannot_be_fetched_whole_leaves_no_file(landing: Path, web: str, path: str, reason: str) -> None:
    with pytest.raises(SourceError, match=reason) as refused:
        find(f"{web}{path}", landing)

    assert "canary" not in str(refused.value)
    assert list((landing.parent / "spool").iterdir()) == []


def test_a_server_that_is_not_there_is_named(landing: Path, unused_port: int) -> None:
    with pytest.raises(SourceError, match=rf"127\.0\.0\.1:{unused_port}/x: cannot be fetched \(Connection refused\)"):
        find(f"http://127.0.0.1:{unused_port}/x", landing)


def test_nothing_is_fetched_onto_a_disk_without_room(landing: Path, web: str) -> None:
    with pytest.raises(NotEnoughSpace):
        find(f"{web}/x", landing, disk_free_min_bytes=2**62)
    with pytest.raises(NotEnoughSpace):
        find(f"{web}/unsized", landing, disk_free_min_bytes=2**62)


def test_a_library_s_own_text_is_not_passed_on() -> None:
    error = OSError("When reading key canary: AWS Error ACCESS_DENIED during GetObject operation: canary")

    assert _cause(error) == "AWS Error ACCESS_DENIED"
    assert _cause(OSError("canary")) == "OSError"


_PARTS = st.lists(st.sampled_from(["a", "b", "ab", ".a"]), min_size=1, max_size=4)


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(
    path=_PARTS,
    folders=st.lists(st.sampled_from(["a", "*", "**", "?", ".*", "[ab]"]), max_size=3),
    name=st.sampled_from(["a", "*", "a*", ".a"]),
)
def test_wildcards_mean_the_same_behind_an_address_as_here(
    tmp_path_factory: pytest.TempPathFactory, path: list[str], folders: list[str], name: str
) -> None:
    pattern = [*folders, name]
    folder = tmp_path_factory.mktemp("files")
    file = folder.joinpath(*path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()

    here = [f for f in _or_none("{landing}/" + "/".join(pattern), folder) if f.path == file]

    assert bool(here) == _matches(path, pattern)


def _or_none(path: str, landing: Path) -> list[SourceFile]:
    try:
        return find(path, landing)
    except SourceError:
        return []
