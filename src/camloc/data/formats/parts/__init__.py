"""Files, intrinsics and RGB-D recordings: what the readers of several layouts share."""
