"""The Kubernetes API: the only package that imports `kubernetes`, for its configuration, login and transport."""
