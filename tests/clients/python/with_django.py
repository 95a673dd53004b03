"""Django's database layer on psycopg 3, without the rest of a project."""

import os
from contextlib import contextmanager
from urllib.parse import urlsplit

import django
from django.conf import settings
from protocol import CLIENT, URL, run

PARTS = urlsplit(URL)
settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": PARTS.path[1:],
            "USER": PARTS.username,
            "PASSWORD": PARTS.password,
            "HOST": PARTS.hostname,
            "PORT": PARTS.port,
            "CONN_MAX_AGE": int(os.environ.get("CONN_MAX_AGE", "0")),
            "DISABLE_SERVER_SIDE_CURSORS": os.environ.get("CURSORS") == "off",
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()

from django.db import close_old_connections, connection, models, transaction  # noqa: E402


class Number(models.Model):
    n = models.IntegerField(primary_key=True)
    twice = models.IntegerField()

    class Meta:
        app_label, db_table, managed = "shop", "number", False


class Witness(models.Model):
    client = models.TextField()
    step = models.TextField()
    n = models.IntegerField()

    class Meta:
        app_label, db_table, managed = "shop", "witness", False


class Client:
    """Each call is a request: Django then closes connections that are older than CONN_MAX_AGE."""

    def twice(self, n):
        with _request():
            return Number.objects.get(n=n).twice

    def insert(self, step, n):
        with _request():
            Witness.objects.create(client=CLIENT, step=step, n=n)

    def pid(self):
        with connection.cursor() as cursor:
            return cursor.execute("select pg_backend_pid()").fetchone()[0]

    @contextmanager
    def transaction(self):
        with _request(), transaction.atomic():
            yield _Inside()

    def cursor(self):
        with _request():
            rows = [each.n for each in Number.objects.filter(n__lte=50).order_by("n").iterator(chunk_size=10)]
            assert rows == [*range(1, 51)]

    def close(self):
        connection.close()


class _Inside:
    twice = staticmethod(lambda n: Number.objects.get(n=n).twice)
    insert = staticmethod(lambda step, n: Witness.objects.create(client=CLIENT, step=step, n=n))
    pid = Client.pid


@contextmanager
def _request():
    close_old_connections()
    try:
        yield
    finally:
        close_old_connections()


run(Client)
