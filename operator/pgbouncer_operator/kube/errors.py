"""What can go wrong in a request, by what the caller can do about it.

A message comes from the server's Status object. For Secrets it is put together from reason, code and field names only:
the server quotes the rejected body in some messages.
"""

import json
from collections.abc import Mapping
from typing import Any


class ApiError(Exception):
    """The API refused a request or did not answer. `code` is the HTTP status, 0 if there was none."""

    def __init__(self, message: str, code: int = 0, reason: str = "", retry_after: float | None = None) -> None:
        """`reason` as in Status, for example `NotFound`; `retry_after`: seconds the server asks us to wait."""
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.retry_after = retry_after


class NotFound(ApiError):
    """404: the object, its namespace or its kind does not exist."""


class Conflict(ApiError):
    """409: the object changed since it was read, or a precondition does not hold. Read again."""


class AlreadyExists(ApiError):
    """409 on create: there is an object of that name. It may not be ours."""


class Unauthorized(ApiError):
    """401: our credentials are not accepted."""


class Forbidden(ApiError):
    """403: RBAC, a quota, an admission policy, or a namespace that is being deleted."""


class Invalid(ApiError):
    """400 and 422: the request can never succeed as it is."""


class Expired(ApiError):
    """410: the resource version or continue token is too old. List from the start."""


class TooManyRequests(ApiError):
    """429: the server sheds load; `retry_after` seconds are to pass for every request."""


class Unavailable(ApiError):
    """5xx, a timeout or no connection. The request may have been done all the same."""


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
    """The error of a response with `code` >= 400. `secret`: the request was about a Secret, so quote nothing of it."""
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
        return None  # the header may also be a date; kube-apiserver never sends one
