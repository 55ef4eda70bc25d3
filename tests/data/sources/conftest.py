"""The real raw files as their authors lay them out, unpacked once a test session."""

import json
import tarfile
from pathlib import Path

import pytest
from official_files import shared_expression, write_refer


@pytest.fixture(scope="session")
def flickr_raw(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Flickr30k Entities: annotations of val and of the train images whose photo is there; lists and photos."""
    shared = shared_dir / "data" / "flickr30k"
    raw = tmp_path_factory.mktemp("flickr30k")
    wanted = {path.stem for path in (shared / "flickr30k-images").iterdir()}
    wanted |= set((shared / "val.txt").read_text().split())
    with tarfile.open(shared / "annotations.tar.xz") as archive:
        members = (member for member in archive if Path(member.name).stem in wanted or member.isdir())
        archive.extractall(raw, members=members, filter="data")
    (raw / "flickr30k-images").symlink_to(shared / "flickr30k-images")
    (raw / "val.txt").symlink_to(shared / "val.txt")
    train = [name for name in (shared / "train.txt").read_text().split() if name in wanted]
    (raw / "train.txt").write_text("\n".join(train))
    return raw


@pytest.fixture(scope="session")
def refer_raw(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The val splits of RefCOCO+, RefCOCO and ReferIt in the official files, made from the shared expressions."""
    raw = tmp_path_factory.mktemp("refer")
    for name, dataset, split_by in (
        ("refcoco_plus_unc_val", "refcoco+", "unc"),
        ("refcoco_unc_val", "refcoco", "unc"),
        ("referit_berkeley_val", "refclef", "berkeley"),
    ):
        lines = (shared_dir / "data" / "refcoco" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        write_refer(raw / dataset, split_by, [shared_expression(json.loads(line), dataset) for line in lines])
    return raw
