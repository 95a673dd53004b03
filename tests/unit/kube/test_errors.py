import json

import pytest

from pgbouncer_operator.kube import errors


def status(**fields: object) -> bytes:
    return json.dumps({"kind": "Status", "apiVersion": "v1", **fields}).encode()


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (400, "BadRequest", errors.Invalid),
        (401, "Unauthorized", errors.Unauthorized),
        (403, "Forbidden", errors.Forbidden),
        (404, "NotFound", errors.NotFound),
        (409, "Conflict", errors.Conflict),
        (409, "AlreadyExists", errors.AlreadyExists),
        (410, "Expired", errors.Expired),
        (418, "Teapot", errors.ApiError),
        (422, "Invalid", errors.Invalid),
        (429, "TooManyRequests", errors.TooManyRequests),
        (500, "InternalError", errors.Unavailable),
        (504, "Timeout", errors.Unavailable),
    ],
)
def test_each_answer_has_its_error_with_the_servers_own_words(code: int, reason: str, kind: type) -> None:
    error = errors.from_response(code, status(reason=reason, message="its own words"), None, secret=False)
    assert type(error) is kind
    assert (str(error), error.code, error.reason) == ("its own words", code, reason)


@pytest.mark.parametrize("body", [b"", b"<html>bad gateway</html>", b"[1]", b'{"kind": "List"}', b"\xff\xfe"])
def test_an_answer_that_is_no_status_is_an_error_all_the_same(body: bytes) -> None:
    error = errors.from_response(502, body, None, secret=False)
    assert isinstance(error, errors.Unavailable)
    assert str(error) == "The API answered 502."


@pytest.mark.parametrize(
    ("header", "detail", "seconds"),
    [
        ("3", None, 3.0),
        (None, 7, 7.0),
        ("3", 7, 3.0),
        ("-1", None, 0.0),
        ("Fri, 21 Nov 2026", None, None),
        (None, None, None),
    ],
)
def test_the_wait_that_the_server_asks_for_is_kept(
    header: str | None, detail: int | None, seconds: float | None
) -> None:
    body = status(details={"retryAfterSeconds": detail} if detail is not None else {})
    assert errors.from_response(429, body, header, secret=False).retry_after == seconds


def test_of_a_request_about_a_secret_only_field_names_are_told() -> None:
    causes = [{"field": "data[b]", "message": 'Invalid value: "hunter2"'}, {"field": "data[a]"}, {"message": "hunter2"}]
    body = status(reason="Invalid", message='Secret "x" is invalid: data: "hunter2"', details={"causes": causes})
    error = errors.from_response(422, body, None, secret=True)
    assert str(error) == "The API answered 422 Invalid to a request about a Secret (data[a], data[b])."
