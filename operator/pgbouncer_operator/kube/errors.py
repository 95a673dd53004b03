"""Errors of requests, one class for each way in which a caller reacts.

The message is that of the API server's Status object. For a request about a Secret it is made of the code, the reason
and field names instead, because some of the server's messages quote the rejected body.
"""

import json
from collections.abc import Mapping
from typing import Any


class ApiError(Exception):
    """The API server refused a request or did not answer. `code` is the HTTP status, 0 if there was no answer."""

    def __init__(self, message: str, code: int = 0, reason: str = "", retry_after: float | None = None) -> None:
        """reason: that of Status, such as `NotFound`. retry_after: seconds that the server asks the client to wait."""
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.retry_after = retry_after


class NotFound(ApiError):
    """404: the object, its namespace or its kind does not exist."""


class Conflict(ApiError):
    """409: the object changed since it was read, or a precondition does not hold. Read again."""


class AlreadyExists(ApiError):
    """409 on create: an object of that name exists, which may belong to somebody else."""


class Unauthorized(ApiError):
    """401: the server does not accept the operator's credentials."""


class Forbidden(ApiError):
    """403: RBAC, a quota, an admission policy, or a namespace that is being deleted."""


class Invalid(ApiError):
    """400 and 422: the same request would fail again."""


class Expired(ApiError):
    """410: the resource version or continue token is too old. List from the start."""


class TooManyRequests(ApiError):
    """429: the server is overloaded. No request should be sent for `retry_after` seconds."""


class Unavailable(ApiError):
    """5xx, a timeout or no connection. The request may have been executed."""


_BY_CODE: Mapping[int, type[ApiError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Expired,
    422: Invalid,
    429: TooManyRequests,
}


def from_response(code: int, body: bytes, retry_after: str | None, secret: bool) -> ApiError:
    """The error of a response with `code` >= 400. secret: whether the request was about a Secret: nothing is quoted."""
    status = _status(body)
    reason = str(status.get("reason") or "")
    kind = AlreadyExists if code == 409 and reason == "AlreadyExists" else _BY_CODE.get(code)
    if kind is None:
        kind = Unavailable if code >= 500 else ApiError
    message = _discreet(status, code) if secret else str(status.get("message") or f"The API answered {code}.")
    return kind(message, code, reason, _seconds(retry_after, status))


def _status(body: bytes) -> Mapping[str, Any]:
    try:
        status = json.loads(body)
    except ValueError:
        return {}
    return status if isinstance(status, dict) and status.get("kind") == "Status" else {}


def _discreet(status: Mapping[str, Any], code: int) -> str:
    details = status.get("details") or {}
    fields = sorted({str(cause.get("field")) for cause in details.get("causes") or [] if cause.get("field")})
    where = f" ({', '.join(fields)})" if fields else ""
    reason = f" {status['reason']}" if status.get("reason") else ""
    return f"The API answered {code}{reason} to a request about a Secret{where}."


def _seconds(header: str | None, status: Mapping[str, Any]) -> float | None:
    value = header if header is not None else (status.get("details") or {}).get("retryAfterSeconds")
    try:
        return max(0.0, float(value)) if value is not None else None
    except (TypeError, ValueError):
        return None  # HTTP also allows a date, which kube-apiserver does not send
