"""Make a user of the MLflow server, or give one another password: `user.py NAME < file with the password`.

Runs beside the server (in its container), whose admin password it reads from the folder `--secrets`. Training needs no
administrator: give jobs a user of their own. Exit code 2 and one line where the server refuses.
"""

import argparse
import base64
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path


def main() -> None:
    """Make the user, or change its password where it exists."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name")
    parser.add_argument("--secrets", type=Path, default=Path("/run/secrets"), help="folder of the secrets")
    parser.add_argument("--server", default="http://127.0.0.1:5000")
    options = parser.parse_args()
    admin = (options.secrets / "mlflow_admin_password").read_text(encoding="utf-8").strip()
    user = {"username": options.name, "password": sys.stdin.read().strip()}
    try:
        try:
            call(options.server, admin, "POST", "create", user)
            print(f"user {options.name}: made")
        except urllib.error.HTTPError as error:
            if "RESOURCE_ALREADY_EXISTS" not in error.read().decode():
                raise
            call(options.server, admin, "PATCH", "update-password", user)
            print(f"user {options.name}: password changed")
    except urllib.error.URLError as error:
        print(f"user.py: {options.server}: {error}", file=sys.stderr)
        raise SystemExit(2) from error


def call(server: str, password: str, method: str, verb: str, body: dict[str, str]) -> None:
    """Send one request of MLflow's API of users as `admin`."""
    token = base64.b64encode(f"admin:{password}".encode()).decode()
    request = urllib.request.Request(
        f"{server}/api/2.0/mlflow/users/{verb}",
        method=method,
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Basic {token}", "Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=60).close()


if __name__ == "__main__":
    main()
