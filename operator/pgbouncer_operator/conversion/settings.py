"""Settings of [pgbouncer]: those that have a field, those that spec.parameters takes, and the rest. Pure."""

import math
from collections.abc import Mapping
from types import MappingProxyType

from pgbouncer_operator import naming
from pgbouncer_operator.api.backend import TlsMode
from pgbouncer_operator.api.clients import ClientTlsMode
from pgbouncer_operator.conversion.ini_file import IniFile, Line
from pgbouncer_operator.conversion.result import Body, Conversion, count, put
from pgbouncer_operator.pgbouncer import parameters
from pgbouncer_operator.pgbouncer.parameter import Audience, Parameter, Type

# A pool whose source does not set these would behave otherwise without them: PgBouncer's default is not the field's.
DEFAULTS: Mapping[str, str] = MappingProxyType({"pool_mode": "session", "query_wait_timeout": "120"})
UNSET = "PgBouncer's default"  # the place of a setting that the source does not set
# What other parts of the conversion read, and remark on.
ELSEWHERE = frozenset(
    {
        "auth_dbname",
        "auth_file",
        "auth_query",
        "auth_type",
        "auth_user",
        "client_tls_cert_file",
        "client_tls_key_file",
        "client_tls_sslmode",
        "default_pool_size",
        "listen_port",
        "max_db_connections",
        "max_user_connections",
        "reserve_pool_size",
        "server_tls_ca_file",
        "server_tls_sslmode",
    }
)
_VERIFIED = {TlsMode.VERIFY_CA.value, TlsMode.VERIFY_FULL.value}
_UNPROTECTED = {"", "disable"}


def convert(lines: tuple[Line, ...], spec: Body, result: Conversion) -> None:
    """Put each setting into its field or into spec.parameters. What no pool can set is a remark."""
    names = {each.name for each in lines}
    absent = (Line(UNSET, name, value, {}) for name, value in DEFAULTS.items() if name not in names)
    for line in (*absent, *lines):
        row = parameters.lookup(line.name)
        if line.name in ELSEWHERE:
            continue
        complaint = parameters.check(line.name, line.value, audiences=(Audience.USER, Audience.FIELD))
        if row is None or complaint is not None:
            result.remark(line.place, _refusal(line, row, complaint.message if complaint else ""))
        elif row.audience is Audience.FIELD:
            put(spec, str(row.field), _number(line, row, result))
        elif line.value != (row.default if row.ours is None else row.ours):
            spec.setdefault("parameters", {})[line.name] = line.value


def _refusal(line: Line, row: Parameter | None, complaint: str) -> str:
    if row is not None and row.audience is Audience.OPERATOR:
        return f"{line.name} is the operator's: {row.help}"
    if row is not None and row.audience is Audience.UNSUPPORTED:
        return f"{line.name} is left out, because it is not supported: {row.help}"
    why = complaint.removeprefix(line.name).strip()
    if why.startswith(("is '", 'is "', "holds ")):  # the value itself: a misplaced password must not be printed
        why = f"has a value that it cannot have: {why.rpartition(': ')[2]}"
    return f"{line.name} is left out, because it {why}"


def _number(line: Line, row: Parameter, result: Conversion) -> int | str:
    """The value of a field: whole seconds, an integer or a word."""
    if row.type not in {Type.TIME, Type.INT}:
        return line.value
    whole = math.ceil(float(line.value))
    if str(whole) != line.value:
        result.remark(line.place, f"{line.name} is rounded up to {whole}: spec.{row.field} takes whole seconds.")
    return whole


def service(ini: IniFile, spec: Body) -> None:
    """The Service's port: that of PgBouncer, so that only the host changes for applications."""
    port = count(ini.setting("listen_port"))
    if 0 < port < 65536 and port != naming.PGBOUNCER_PORT:
        put(spec, "service.port", port)


def server_tls(ini: IniFile, name: str, spec: Body, result: Conversion) -> None:
    """TLS towards PostgreSQL. name: of the pool, for the Secret with the CA."""
    mode, file = ini.setting("server_tls_sslmode"), ini.setting("server_tls_ca_file")
    place = _place(ini, "server_tls_sslmode")
    if mode in {TlsMode.DISABLE.value, TlsMode.REQUIRE.value}:
        put(spec, "backend.tls.mode", mode)
    elif mode in _VERIFIED:
        put(spec, "backend.tls.mode", mode)
        source: Body = {"system": True}
        if file:
            source = {"secretKeyRef": {"name": f"{name}-server-ca", "key": "ca.crt"}}
            message = f"server_tls_ca_file becomes the Secret {name}-server-ca: create it, with the file as key ca.crt."
            result.remark(_place(ini, "server_tls_ca_file"), message)
        put(spec, "backend.tls.ca", source)
    else:
        falls = f"server_tls_sslmode {mode or 'prefer'} falls back to plain text, and a pool does not"
        result.remark(
            place, f"{falls}: it requires TLS. For a server without TLS set backend.tls to {{mode: disable}}."
        )
    if file and mode not in _VERIFIED:
        message = "server_tls_ca_file has no effect without verify-ca or verify-full."
        result.remark(_place(ini, "server_tls_ca_file"), message)


def client_tls(ini: IniFile, name: str, spec: Body, result: Conversion) -> None:
    """TLS towards clients. name: of the pool, for the Secret with the certificate."""
    mode, place = ini.setting("client_tls_sslmode"), _place(ini, "client_tls_sslmode")
    if mode in _UNPROTECTED:
        return
    kept = ClientTlsMode.PREFER if mode in {"allow", "prefer"} else ClientTlsMode.REQUIRE
    spec.setdefault("clients", {})["tls"] = {"secretName": f"{name}-tls", "mode": kept.value}
    if mode in _VERIFIED:
        result.remark(place, f"client_tls_sslmode {mode} becomes require: certificates of clients are not checked.")
    message = f"becomes the Secret {name}-tls of type kubernetes.io/tls: create it, with tls.crt and tls.key."
    result.remark(_place(ini, "client_tls_cert_file", "client_tls_sslmode"), f"client_tls_cert_file {message}")


def _place(ini: IniFile, *names: str) -> str:
    return ini.place(*names, absent=UNSET)
