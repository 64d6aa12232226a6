"""Files, intrinsics and RGB-D recordings, shared by the readers of several layouts."""
