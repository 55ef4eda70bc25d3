"""What holds for every test: the environment, set before anything reads it, and the shared facts."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

for name, value in {
    "RAY_USAGE_STATS_ENABLED": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "HF_HUB_OFFLINE": "1",
    "MPLBACKEND": "Agg",
    # Test processes share the cores; more threads than cores would only wait for each other.
    "OMP_NUM_THREADS": "1",
}.items():
    os.environ.setdefault(name, value)
# A test speaks to the cluster and the tracking server that it starts itself.
for name in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI", "AMC_DEBUG"):
    os.environ.pop(name, None)

# The same examples every time, and no deadline: how long one takes says how busy the machine is.
settings.register_profile("house", deadline=None, derandomize=True)
settings.load_profile("house")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if (ROOT / "tests" / "integration") in item.path.parents:
            item.add_marker("integration")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder beside the checkout that holds recorded facts: golden values of the published code."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"no folder `shared` beside the checkout ({folder.parent.name}/shared)")
    return folder
