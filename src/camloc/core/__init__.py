"""Basics without a model: settings as JSON, files and caches on disk, devices, silenced libraries."""
