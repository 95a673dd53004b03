"""A release: chart, command, one manifest to install, list of packages, notes and checksums."""
