"""The API: models of ConnectionPool and PostgresServer, their status and conditions, and the CRDs made of the models.

Pure. The only package that uses pydantic. `connection_pool.parse` reads an object, `crd.render` makes the CRD.
A docstring under a field is the field's description in the CRD: what it does, unit, default, PgBouncer's own name, and
how a change takes effect.
"""
