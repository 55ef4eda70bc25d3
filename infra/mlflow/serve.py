"""Start the MLflow server with passwords from files: none stands in an argument, in a log or in the image.

`--secrets` holds one secret a file: `postgres_password`, `mlflow_admin_password`, `mlflow_secret_key`, `s3_access_key`
and `s3_secret_key`, as Docker and Kubernetes mount them. What libpq, boto3 and MLflow read is written from them into
`--state`, for this user only; that folder belongs in memory. Then the bucket is made where it is missing, and this
process becomes `mlflow server`. Exit code 2 and one line where a secret is missing.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

SECRETS = (
    "postgres_password",
    "mlflow_admin_password",
    "mlflow_secret_key",
    "s3_access_key",
    "s3_secret_key",
)
WAIT_FOR_OBJECTS_S = 120


def arguments() -> argparse.Namespace:
    """Read the command line; nothing in it is secret."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--secrets", type=Path, default=Path("/run/secrets"), help="folder of the secrets")
    parser.add_argument(
        "--state", type=Path, default=Path("/run/mlflow"), help="folder in memory, for this server"
    )
    parser.add_argument("--database", required=True, metavar="USER@HOST:PORT/NAME", help="of PostgreSQL")
    parser.add_argument("--objects", required=True, metavar="URL", help="of the S3 server")
    parser.add_argument("--bucket", default="mlflow")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at")
    parser.add_argument("--port", type=int, default=5000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--allowed-hosts",
        default="localhost:*,127.0.0.1:*",
        help="names by which clients may call this server, with their ports; others are refused (DNS rebinding)",
    )
    return parser.parse_args()


def read_secrets(folder: Path) -> dict[str, str]:
    """Return every secret by name, without the newline at its end.

    Raises:
        SystemExit: one is missing or empty.
    """
    found: dict[str, str] = {}
    for name in SECRETS:
        path = folder / name
        try:
            found[name] = path.read_text(encoding="utf-8").strip()
        except OSError as error:
            refuse(f"{path}: {error.strerror}; infra/mlflow/secrets.sh makes it")
        if not found[name]:
            refuse(f"{path}: empty; infra/mlflow/secrets.sh makes it")
    return found


def refuse(message: str) -> None:
    """Print `message` and leave with exit code 2."""
    print(f"serve.py: {message}", file=sys.stderr)
    raise SystemExit(2)


def write_private(path: Path, text: str) -> str:
    """Write `text` where only this user reads it (libpq refuses anything else); return the path."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    return str(path)


def private_files(state: Path, secrets: dict[str, str], database_uri: str) -> dict[str, str]:
    """Write the secrets into `state` as libraries read them; return the environment that names the files."""
    password = secrets["postgres_password"].replace("\\", "\\\\").replace(":", "\\:")
    auth = (
        "[mlflow]\n"
        # Who has a name may read everything and change what is his own; the makers of an experiment manage it.
        "default_permission = READ\n"
        f"database_uri = {database_uri}\n"
        "admin_username = admin\n"
        # configparser reads % as the beginning of a reference.
        f"admin_password = {secrets['mlflow_admin_password'].replace('%', '%%')}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        # A password is hashed slowly on purpose; without a cache that is most of a request's time. A changed password
        # holds after this time at the latest.
        "auth_cache_ttl_seconds = 60\n"
    )
    keys = (
        "[default]\n"
        f"aws_access_key_id = {secrets['s3_access_key']}\n"
        f"aws_secret_access_key = {secrets['s3_secret_key']}\n"
    )
    return {
        "PGPASSFILE": write_private(state / "pgpass", f"*:*:*:*:{password}\n"),
        "MLFLOW_AUTH_CONFIG_PATH": write_private(state / "auth.ini", auth),
        "AWS_SHARED_CREDENTIALS_FILE": write_private(state / "aws", keys),
    }


def ensure_bucket(bucket: str) -> None:
    """Make `bucket` where it is missing, once the object store answers.

    Raises:
        SystemExit: it does not answer within two minutes, or does not take the keys.
    """
    import boto3
    from botocore.exceptions import ClientError, EndpointConnectionError

    client = boto3.client("s3", endpoint_url=os.environ["MLFLOW_S3_ENDPOINT_URL"])
    deadline = time.monotonic() + WAIT_FOR_OBJECTS_S
    while True:
        try:
            if bucket not in {each["Name"] for each in client.list_buckets()["Buckets"]}:
                client.create_bucket(Bucket=bucket)
            return
        except ClientError as error:
            refuse(
                f"bucket {bucket}: {error}; are s3_access_key and s3_secret_key those of the object store?"
            )
        except EndpointConnectionError as error:
            if time.monotonic() > deadline:
                refuse(f"bucket {bucket}: {error}")
            time.sleep(0.5)


def main() -> None:
    """Prepare the files and become the server."""
    options = arguments()
    secrets = read_secrets(options.secrets)
    database_uri = f"postgresql+psycopg2://{options.database}"
    if not urlsplit(database_uri).username or urlsplit(database_uri).password:
        refuse(
            f"--database {options.database}: must be USER@HOST:PORT/NAME; the password is a file in --secrets"
        )
    os.environ |= private_files(options.state, secrets, database_uri) | {
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets["mlflow_secret_key"],
        "MLFLOW_S3_ENDPOINT_URL": options.objects,
        "AWS_DEFAULT_REGION": "us-east-1",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # Jobs of the server are for evaluating language models; they cost eight processes.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    ensure_bucket(options.bucket)
    mlflow = Path(sys.executable).with_name("mlflow")
    command = [
        str(mlflow), "server",
        "--host", options.host, "--port", str(options.port), "--workers", str(options.workers),
        "--backend-store-uri", database_uri,
        "--serve-artifacts", "--artifacts-destination", f"s3://{options.bucket}",
        "--app-name", "basic-auth",
        "--allowed-hosts", options.allowed_hosts,
    ]  # fmt: skip
    os.execv(mlflow, command)


if __name__ == "__main__":
    main()
