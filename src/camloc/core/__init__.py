"""The ground floor: settings as JSON, files and caches on disk, devices, silenced libraries."""
