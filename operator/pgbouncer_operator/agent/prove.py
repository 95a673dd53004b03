"""Prove a configuration on a PgBouncer without clients, before the running one reads it. It takes about 25 ms."""

import contextlib
import shutil
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pgbouncer_operator import naming
from pgbouncer_operator.agent import console, files, wire
from pgbouncer_operator.agent.candidate import Candidate
from pgbouncer_operator.agent.settings import AgentSettings

START_SECONDS = 5.0
_POLL_SECONDS = 0.002
_PREFIX = "trial-"


class ConfigurationRefused(Exception):
    """PgBouncer refuses the configuration. The message is its own, without secrets."""


def prove(candidate: Candidate, settings: AgentSettings) -> None:
    """Start PgBouncer on `candidate` without a TCP port, read its marker, and end it.

    Raises ConfigurationRefused when PgBouncer does not start or does not read the configuration to its last line.
    """
    _check_ca(candidate)
    with _directory(settings) as directory:
        composition = candidate.composition
        own = replace(composition.paths, run=str(directory), ca=f"{directory}/ca")
        trial = replace(candidate, composition=replace(composition, paths=own, listen=False))
        files.write(trial.files())
        _check_certificate(trial)
        log = directory / "log"
        with log.open("wb") as sink, _startable():
            process = subprocess.Popen(
                [*settings.pgbouncer, own.ini], stdin=subprocess.DEVNULL, stdout=sink, stderr=sink
            )
        try:
            marker = _marker(process, directory / settings.console.name)
        finally:
            process.kill()
            process.wait()
        if marker != trial.marker:
            error = _first_error(log.read_text(errors="replace")) or "it was not read to its end, and the log is empty"
            raise ConfigurationRefused(scrub(error, candidate))


def clean(settings: AgentSettings) -> None:
    """Remove what a worker that was killed during a proof left."""
    for directory in settings.run_dir.glob(f"{_PREFIX}*"):
        shutil.rmtree(directory, ignore_errors=True)


def _check_ca(candidate: Candidate) -> None:
    """PgBouncer accepts a CA file without a certificate, and fails at the first connection to the server."""
    if not candidate.ca:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=candidate.ca.decode("ascii"))
    except (ssl.SSLError, UnicodeDecodeError):
        name = candidate.composition.intent.server_tls.ca
        raise ConfigurationRefused(
            f"{name} holds no certificate in PEM format: correct what backend.tls.ca refers to"
        ) from None


def _check_certificate(trial: Candidate) -> None:
    """OpenSSL says what is wrong with certificate and key; PgBouncer only logs that it cannot set up TLS."""
    if trial.composition.intent.client_tls is None:
        return
    paths = trial.composition.paths
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(paths.certificate, paths.key, password=lambda: b"")
    except OSError as error:
        reason = getattr(error, "reason", None) or "not in PEM format"
        pair = " and ".join(naming.TLS_KEYS)
        raise ConfigurationRefused(
            f"{pair} of clients.tls.secretName cannot be used: {reason}. Correct the Secret"
        ) from None


@contextlib.contextmanager
def _startable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationRefused(f"PgBouncer cannot be started: {error}") from None


def _marker(process: subprocess.Popen[bytes], socket: Path) -> str:
    """The marker of the configuration that the process has read to its end; empty when it did not start."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError, wire.WireError), wire.console(str(socket), START_SECONDS) as session:
            return console.marker(session.query("SHOW CONFIG"))
        time.sleep(_POLL_SECONDS)
    return ""


def _first_error(log: str) -> str:
    """The first error in PgBouncer's log, without timestamp and process id; empty when the log is."""
    lines = [line.partition("] ")[2] or line for line in log.splitlines()]
    levels = ("ERROR", "FATAL", "WARNING")
    return next((line for level in levels for line in lines if line.startswith(level)), lines[0] if lines else "")


def scrub(text: str, candidate: Candidate) -> str:
    """`text` without any password of the candidate."""
    for each in sorted(candidate.composition.logins, key=lambda login: -len(login.password)):
        text = text.replace(each.password, "…")
    return text


@contextlib.contextmanager
def _directory(settings: AgentSettings) -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=settings.run_dir))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
