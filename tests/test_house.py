"""The rules of the house: which way the doors open, and what no file holds."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT / "models" / "amc_models"
PLATFORM = ROOT / "platform" / "amc_platform"
SOURCES = sorted([*MODELS.rglob("*.py"), *PLATFORM.rglob("*.py")])

# A room imports itself and rooms of a later row only; rooms of one row do not import each other.
FLOORS = (
    {"cli"},
    {"jobs", "reporting"},
    {"search"},
    {"training"},
    {"tracking", "evaluation"},
    {"data"},
    {"spec"},
    {"storage"},
    {"files"},
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

# Where a library may be imported at all: a folder, or one file.
HOMES = {
    "ray": (
        "platform/amc_platform/training/worker.py",
        "platform/amc_platform/training/pool.py",
        "platform/amc_platform/search/tune.py",
        "platform/amc_platform/jobs/",
        "platform/amc_platform/data/ray_pool.py",
    ),
    "mlflow": ("platform/amc_platform/tracking/",),
}
HEAVY = {
    "torch",
    "torchvision",
    "timm",
    "transformers",
    "ray",
    "mlflow",
    "pyarrow",
    "pandas",
    "matplotlib",
    "scipy",
}


def imports(source: str, package: str) -> Iterator[str]:
    """Yield the absolute name of every module that `source`, a module of `package`, imports, however deep."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*parents, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def closed_doors(path: str, source: str) -> list[str]:
    """List what the file at `path` (relative to the root) imports although it must not."""
    parts = path.removesuffix(".py").split("/")[1:]
    found: list[str] = []
    for name in imports(source, ".".join(parts[:-1])):
        library, _, rest = name.partition(".")
        homes = HOMES.get(library)
        if homes and not path.startswith(homes):
            found.append(name)
        if library == "amc_platform" and parts[0] == "amc_models":
            found.append(name)
        elif library == "amc_platform" and rest and len(parts) > 1:
            here, there = parts[1], rest.split(".")[0]
            if here != there and FLOOR_OF[there] <= FLOOR_OF[here]:
                found.append(name)
    return found


def repository_files() -> list[Path]:
    """List the files that are in the repository, or would be with the next `git add`."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def modules_after(statement: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter holds after `statement`."""
    code = f"{statement}; import sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("path", [str(path.relative_to(ROOT)) for path in SOURCES])
def test_imports_go_down_only(path: str) -> None:
    assert closed_doors(path, (ROOT / path).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("path", "source", "found"),
    [
        (
            "platform/amc_platform/data/table.py",
            "from amc_platform.search import plan",
            ["amc_platform.search.plan"],
        ),
        ("platform/amc_platform/data/table.py", "from ..search import plan", ["amc_platform.search.plan"]),
        ("platform/amc_platform/data/table.py", "from .boxes import Box", []),
        ("platform/amc_platform/data/table.py", "from amc_platform.files import atomic_path", []),
        (
            "platform/amc_platform/tracking/api.py",
            "import amc_platform.evaluation",
            ["amc_platform.evaluation"],
        ),
        ("platform/amc_platform/training/loop.py", "def f():\n    import ray.train", ["ray.train"]),
        ("platform/amc_platform/training/worker.py", "import ray.train", []),
        ("platform/amc_platform/training/loop.py", "from mlflow import log_metric", ["mlflow.log_metric"]),
        (
            "models/amc_models/albef.py",
            "from amc_platform.files import atomic_path",
            ["amc_platform.files.atomic_path"],
        ),
    ],
)
def test_the_rule_sees(path: str, source: str, found: list[str]) -> None:
    assert closed_doors(path, source) == found


def test_every_room_has_a_floor() -> None:
    rooms = {path.stem for path in PLATFORM.iterdir() if path.is_dir() or path.suffix == ".py"}
    assert rooms - {"__init__", "__pycache__"} <= set(FLOOR_OF)


def test_source_roots_are_no_packages() -> None:
    assert [root for root in ("models", "platform") if (ROOT / root / "__init__.py").exists()] == []


def test_the_standard_platform_module_wins_in_the_root() -> None:
    code = "import platform; print(platform.system())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.strip() in {"Linux", "Darwin"}


@pytest.mark.parametrize(
    "statement",
    [
        "import amc_platform.cli.main",
        "import amc_platform.spec.loading",
        "import amc_models",
    ],
)
def test_light_modules_load_nothing_heavy(statement: str) -> None:
    assert modules_after(statement) & HEAVY == set()


def test_signatures_are_checked_while_tests_run(tmp_path: Path) -> None:
    from amc_platform.files import write_text

    with pytest.raises(jaxtyping.TypeCheckError):
        write_text(tmp_path / "note", 3)  # type: ignore[arg-type]


def test_files_stay_short() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES
    }
    assert {path: length for path, length in lengths.items() if length > 330} == {}


def test_no_file_names_this_machine_or_a_registry() -> None:
    # Put together here, so that this file does not hold them either.
    hosts = [
        ("pypi", "org"),
        ("python" + "hosted", "org"),
        ("registry", "npmjs"),
        ("deb", "debian"),
        ("download", "pytorch"),
    ]
    paths = [ROOT, ROOT.parent / "shared", Path("/", "work", "main"), Path("/", "work", "shared")]
    words = [".".join(host) for host in hosts] + [str(path) for path in paths]
    pattern = re.compile("|".join(rf"{re.escape(word)}\b" for word in words).encode())
    found = {str(path.relative_to(ROOT)) for path in repository_files() if pattern.search(path.read_bytes())}
    assert found == set()


def test_versions_are_pinned_once_and_by_version_only() -> None:
    lines = (ROOT / "infra" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", pin)] == []
    names = [pin.split("==")[0] for pin in pins]
    assert len(names) == len(set(names))
    assert [
        path.name for path in repository_files() if path.name in {"uv.lock", "poetry.lock", "pdm.lock"}
    ] == []
