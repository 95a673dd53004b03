"""The Kubernetes API: the only importer of `kubernetes`, and of that only configuration, login and transport."""
