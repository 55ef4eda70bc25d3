from pathlib import Path

import pytest

from amc_models.errors import InputError
from amc_platform.data.places import Place, read_each


def test_a_local_place_reads_writes_and_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Place.of("raw")
    assert (folder.exists(), folder.is_dir(), folder.names()) == (False, False, [])
    with folder.join("deep", "a.txt").written() as path:
        path.write_text("größer", encoding="utf-8")
    assert folder.is_dir()
    assert folder.join("deep").names() == ["a.txt"]
    file = folder.join("deep", "a.txt")
    assert file.exists()
    assert not file.is_dir()
    assert file.read_text() == "größer"
    with file.open() as opened:
        opened.seek(2)
        assert opened.read(3) == "größer".encode()[2:5]
    # What messages show is what was given; what workers get does not depend on their working directory.
    assert (str(file), file.address) == ("raw/deep/a.txt", str(tmp_path / "raw" / "deep" / "a.txt"))
    assert Place.of(file.address) == Place.of(tmp_path / "raw" / "deep" / "a.txt")


def test_what_is_written_is_whole_or_not_there(tmp_path: Path) -> None:
    place = Place.of(tmp_path / "a.txt")
    with pytest.raises(UnicodeEncodeError), place.written() as path:
        path.write_text("one h\udcff", encoding="utf-8")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("t/val.parquet", "t/val.rejected.parquet"),
        ("t/val.parquet/", "t/val.rejected.parquet"),
        ("t/val", "t/val.rejected.parquet"),
    ],
)
def test_the_list_of_rejected_things_is_beside_the_table(given: str, expected: str) -> None:
    renamed = Place.of(given).renamed(".rejected.parquet")
    assert str(renamed) == expected
    assert renamed.path == str(Path(expected).absolute())


def test_a_uri_of_a_local_file_is_read_through_its_file_system(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    folder = Place.of(f"file://{tmp_path}")
    assert folder.join("a.txt").read_bytes() == b"x"
    assert str(folder.join("a.txt")) == f"file://{tmp_path}/a.txt"
    with folder.join("b.txt").written() as path:
        path.write_text("y")
    assert (tmp_path / "b.txt").read_text() == "y"


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("nowhere/a.txt", "nowhere/a.txt: no such file"),
        ("gopher://host/a.txt", "gopher://host: not an address that can be opened"),
        (".", r"\.: cannot be read"),
    ],
)
def test_what_cannot_be_read_is_one_line(address: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        Place.of(address).read_bytes()
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff")
    with pytest.raises(InputError, match=r"a\.txt: not UTF-8"):
        Place.of(tmp_path / "a.txt").read_text()


def test_many_files_come_in_order_with_an_error_for_the_missing(tmp_path: Path) -> None:
    for name in "ac":
        (tmp_path / name).write_text(name)
    for folder in (Place.of(tmp_path), Place.of(f"file://{tmp_path}")):
        found = list(read_each(folder.join(name) for name in "abc"))
        assert (found[0], found[2]) == (b"a", b"c")
        assert isinstance(found[1], InputError)
