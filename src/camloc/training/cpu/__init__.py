"""Workarounds for training on CPUs, each with the measurement that justifies it."""
