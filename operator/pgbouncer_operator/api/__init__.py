"""The API: ConnectionPool as users write it, its status and conditions, and the CRD made of these models.

Pure. The only package that uses pydantic. `connection_pool.parse` reads an object, `crd.render` writes the CRD.
"""
