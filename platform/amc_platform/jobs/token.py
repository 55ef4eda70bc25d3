"""The token of a Ray cluster: where it is kept, and whether the cluster asks for one."""

import http.client
import os
from pathlib import Path
from urllib.parse import urlsplit

from amc_models.errors import InputError
from amc_platform.jobs.target import RayTarget

_DEFAULT = "~/.ray/auth_token"
_TIMEOUT_S = 10.0
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def read_token(target: RayTarget) -> str | None:
    """The token by `token_file`, RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or Ray's own file, in this order.

    None where there is none. Raises InputError for a file that is named and cannot be read, or is empty.
    """
    if target.token_file is None and (token := os.environ.get("RAY_AUTH_TOKEN")):
        return token.strip()
    named = target.token_file or os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named or _DEFAULT).expanduser()
    try:
        token = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        if named is None:
            return None
        raise InputError(
            f"token_file: {path} cannot be read ({error.strerror}); copy the token into it"
        ) from error
    if not token:
        raise InputError(f"token_file: {path} is empty; copy the cluster's token into it")
    return token


def authorization(token: str | None) -> dict[str, str]:
    """Headers with which Ray knows us."""
    return {"Authorization": f"Bearer {token}"} if token else {}


def check_cluster(target: RayTarget, token: str | None, *, insecure: bool) -> None:
    """Refuse a cluster that anyone may use, one that does not know `token`, and a token over an open wire.

    `insecure` allows the first and the last. Raises InputError, also where nothing answers.
    """
    parts = urlsplit(target.address)
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK and not insecure:
        raise InputError(
            f"{target.address}: would carry the token unencrypted; use https, or a tunnel (ssh -L 8265:127.0.0.1:8265 "
            f"{parts.hostname}) and http://127.0.0.1:8265, or --insecure"
        )
    code = _answer(target, None)
    if code == 200:
        if insecure:
            return
        raise InputError(
            f"{target.address}: this Ray cluster is open: whoever reaches it can run anything on it; start it with "
            "RAY_AUTH_MODE=token, or use it all the same by --insecure"
        )
    if code not in (401, 403):
        raise InputError(f"{target.address}: answers {code}, as no Ray does; mend the address")
    if token is None:
        raise InputError(
            f"{target.address}: asks for a token; name its file in token_file or RAY_AUTH_TOKEN_PATH"
        )
    if (code := _answer(target, token)) != 200:
        raise InputError(
            f"{target.address}: refused the token ({code}); copy the cluster's into its file again"
        )


def _answer(target: RayTarget, token: str | None) -> int:
    """HTTP status of the cluster's version. No redirection is followed: a token stays with its cluster."""
    parts = urlsplit(target.address)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", f"{parts.path.rstrip('/')}/api/version", headers=authorization(token))
        return connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise InputError(
            f"{target.address}: no Ray answers there ({error}); start it, or mend the address"
        ) from error
    finally:
        connection.close()
