"""A real single-node Kubernetes for demo and tests: kind where a container engine answers, else built and run bare.

Standard library only, because it runs before any virtual environment exists: python3 -m tests.localcluster up.
"""
