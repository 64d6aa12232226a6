"""`Batch`: images, poses and intrinsics as tensors, for training and prediction."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from camloc.core.device import to_device
from camloc.geometry.pose import Pose


@dataclass(frozen=True, eq=False)
class Batch:
    """Views of one size, stacked for a network.

    While images are augmented, they and `inside` may be on another device than the rest: random numbers
    and what is computed once per image stay on the CPU, so that they are the same on every device.

    Attributes:
        images: (b, 3, height, width) RGB in [0, 1]; or, where a backbone's features were computed
            before training, (b, channels, height, width) these.
        world_from_cam: (b,) poses in the precision of the network.
        intrinsics: (b, 3, 3) pinhole calibration matrices, or None where any is unknown.
        scene: (b,) numbers of the scenes.
        inside: (b, height, width) False for pixels, or for cells of the network's grid, that a turn of the
            camera has moved out of the image; None where there are none.
        map_points: (b, p, 3) points of a map that each view sees, in the world; NaN fills up views that see
            fewer. None for a training without a map.
        window: number of consecutive views that are frames of one recording, in their order; 1 without
            windows.
    """

    images: Float[Tensor, "b _ h w"]
    world_from_cam: Pose
    intrinsics: Float[Tensor, "b 3 3"] | None
    scene: Int[Tensor, "b"]
    inside: Bool[Tensor, "b _ _"] | None = None
    map_points: Float[Tensor, "b p 3"] | None = None
    window: int = 1

    def __len__(self) -> int:
        return self.images.shape[0]

    def __getitem__(self, rows: slice | Tensor) -> "Batch":
        """Some of the views, as single views without windows."""
        return replace(self._changed(lambda tensor: tensor[rows]), window=1)

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device."""
        return self._changed(lambda tensor: to_device(tensor, device))

    def _changed(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        """The batch with every tensor changed."""
        names = ("images", "intrinsics", "scene", "inside", "map_points")
        known = {name: tensor for name in names if (tensor := getattr(self, name)) is not None}
        pose = Pose(change(self.world_from_cam.rotation), change(self.world_from_cam.translation))
        changed = {name: change(tensor) for name, tensor in known.items()}
        return self.replace(world_from_cam=pose, **changed)

    def replace(self, **changes: object) -> "Batch":
        """The same batch with some fields exchanged."""
        return replace(self, **changes)  # type: ignore[arg-type]
