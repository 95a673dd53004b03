"""PgBouncer: the catalogue of its settings, its files, and the SQL it runs. Pure, and without Kubernetes."""
