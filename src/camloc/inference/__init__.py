"""Locate images with a trained model or an exported network."""
