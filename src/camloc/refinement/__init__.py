"""Auxiliary networks of a trained regressor that refine its poses.

Source: "Camera Pose Auto-Encoders" (ECCV 2022).
"""
