#!/usr/bin/env bash
# Make the secrets of the tracking server, one a file, in the folder given (default: infra/mlflow/secrets, which git
# ignores). What exists is kept, so that running it again changes no password.
set -euo pipefail
folder=${1:-$(dirname "$0")/secrets}
umask 077
mkdir -p "$folder"
# Strangers of this machine are stopped here. The files themselves are readable: Compose mounts them as they are, and
# the users inside the containers have other numbers than you.
chmod 700 "$folder"

for name in postgres_password mlflow_admin_password mlflow_secret_key mlflow_client_password s3_access_key s3_secret_key; do
    if [ ! -s "$folder/$name" ]; then
        head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"$folder/$name"
    fi
done
# The keys once more, in the form in which the object store reads them.
rm -f "$folder/s3.json"
cat >"$folder/s3.json" <<JSON
{
  "identities": [
    {
      "name": "mlflow",
      "credentials": [{"accessKey": "$(cat "$folder/s3_access_key")", "secretKey": "$(cat "$folder/s3_secret_key")"}],
      "actions": ["Admin", "Read", "Write", "List", "Tagging"]
    }
  ]
}
JSON
chmod 444 "$folder"/*
echo "secrets in $folder"
