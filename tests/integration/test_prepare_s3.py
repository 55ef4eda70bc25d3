"""`amc prepare` from a bucket into a bucket of an S3 server on loopback."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from following import AMC, wait_for
from mlflow_servers import free_port
from raw_prepare import write_raw

from amc_models.errors import InputError
from amc_platform.data.places import Place
from amc_platform.data.table import parts, read_info, read_rows


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """HOST:PORT of a server with an empty bucket `amc`."""
    port = free_port()

    def answers() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return False
        return True

    log = tmp_path_factory.mktemp("s3") / "log"
    command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("w") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
        try:
            wait_for(answers, process, log)
            request = urllib.request.Request(f"http://127.0.0.1:{port}/amc", method="PUT")
            urllib.request.urlopen(request).close()
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()


@pytest.fixture
def s3(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The server's address, with keys as a user has them in the environment."""
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    return server


def upload(folder: Path, place: Place) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with place.join(*path.relative_to(folder).parts).written() as temporary:
                temporary.write_bytes(path.read_bytes())


def test_a_table_from_a_bucket_into_a_bucket(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{s3}")
    write_raw(tmp_path / "raw", 90)
    upload(tmp_path / "raw", Place.of("s3://amc/raw"))
    options = ["--split", "val", "--image-size", "200", "--shard-mb", "1", "--workers", "2", "--json"]
    said = []
    for raw, out in (("raw", "t.parquet"), ("s3://amc/raw", "s3://amc/t.parquet")):
        done = subprocess.run(
            [AMC, "prepare", "flickr30k-entities", "--raw", raw, "--out", out, *options],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        said.append(json.loads(done.stdout))
    assert said[0]["images"] == 90
    assert said[0]["content_hash"] == said[1]["content_hash"]
    assert said[1]["rejected"]["file"] == "s3://amc/t.rejected.parquet"
    names = [part.name for part in parts("s3://amc/t.parquet")]
    assert names[0] == "s3://amc/t.parquet/part-00000.parquet"
    assert len(names) >= 2
    for part in parts(tmp_path / "t.parquet"):
        assert Place.of(f"s3://amc/t.parquet/{Path(part.path).name}").read_bytes() == part.read_bytes()
    assert read_rows("s3://amc/t.parquet") == read_rows(tmp_path / "t.parquet")
    assert read_info("s3://amc/t.parquet").content_hash == said[0]["content_hash"]


def test_a_part_that_was_half_uploaded_is_written_again_and_the_others_are_not(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from amc_platform.data.material import Pictures
    from amc_platform.data.shards import Writing, prepare_material
    from amc_platform.data.sources.flickr30k_entities import read_flickr30k_entities

    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{s3}")
    write_raw(tmp_path / "raw", 12)
    writing = Writing(shard_bytes=40_000, workers=1)

    def prepare() -> str:
        material = read_flickr30k_entities(tmp_path / "raw", [], Pictures())
        return prepare_material(material, "s3://amc/half", writing).info.content_hash

    whole = prepare()
    table = Place.of("s3://amc/half")
    first, second = table.join("part-00000.parquet"), table.join("part-00001.parquet")
    table.filesystem.delete_file(table.join("_table.json").path)
    written = table.filesystem.get_file_info(first.path).mtime
    content = second.read_bytes()
    with second.written() as path:
        path.write_bytes(content[:-50])
    time.sleep(1.1)  # the server counts whole seconds
    assert prepare() == whole
    assert second.read_bytes() == content
    assert table.filesystem.get_file_info(first.path).mtime == written


def test_an_endpoint_in_the_address(s3: str) -> None:
    query = f"?endpoint_override={s3}&scheme=http"
    folder = Place.of(f"s3://amc/folder{query}")
    with folder.join("a.txt").written() as path:
        path.write_text("x")
    assert str(folder.join("a.txt")) == f"s3://amc/folder/a.txt{query}"
    assert Place.of(folder.join("a.txt").address).read_text() == "x"
    assert folder.names() == ["a.txt"]
    assert folder.is_dir()
    assert str(Place.of(f"s3://amc/t.parquet{query}").renamed(".x")) == f"s3://amc/t.x{query}"
    assert "folder" in Place.of(f"s3://amc{query}").names()


@pytest.mark.parametrize("address", ["s3://amc/nothing.txt", "s3://no-such-bucket/a.txt"])
def test_what_is_not_there_is_one_line(s3: str, address: str) -> None:
    with pytest.raises(InputError, match="no such file") as caught:
        Place.of(f"{address}?endpoint_override={s3}&scheme=http").read_bytes()
    assert "\n" not in str(caught.value)


def test_a_bucket_that_is_not_there_cannot_be_written(s3: str) -> None:
    place = Place.of(f"s3://no-such-bucket/a.txt?endpoint_override={s3}&scheme=http")
    with pytest.raises(InputError, match=r"cannot be written .*NO_SUCH_BUCKET"), place.written() as path:
        path.write_text("x")
