"""Nothing about a user leaves their machine unless they ask for it."""

import os

_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def quiet_environment() -> None:
    """Turn off the telemetry of MLflow and Ray by environment defaults; what the user has set stays.

    Call it before either is imported: both read these variables at import or at their first start.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
