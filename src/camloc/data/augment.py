"""Images that the same camera could have taken: the image changes, and intrinsics and pose with it.

Turning a camera about its own centre changes its image by a homography whatever the scene looks
like, so turned views are exact new training images. Colour changes leave the pose alone.

Numbers are drawn, and cameras and poses computed, on the CPU; the images are changed where they are. On an
accelerator they get the same changes as on a CPU, and nothing here waits for it.
"""

import math
from dataclasses import dataclass, replace

import roma
import torch
import torchvision.transforms.v2.functional as colour
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from camloc.core.device import to_device
from camloc.data.batch import Batch
from camloc.errors import RecipeError
from camloc.geometry.camera import pixel_grid
from camloc.geometry.pose import Pose


@dataclass(frozen=True)
class Augment:
    """The ranges from which random changes of training images are drawn, uniformly.

    Attributes:
        random_crop: cut the network's image from anywhere in the scaled one, not from its middle.
        roll_degrees: turn about the viewing direction, to either side.
        yaw_degrees, pitch_degrees: turn about the camera's down and right axes, to either side.
        zoom: magnify by up to this factor or its inverse; 1.0 leaves the size alone.
        brightness, contrast, saturation: relative change, up or down.
        cast: relative change of red, green and blue apart, as lamps and the evening sun do.
        hue: change as a share of the colour circle, either way.
        erase: largest share of the image that a grey rectangle covers, on half of the images.
    """

    random_crop: bool = False
    roll_degrees: float = 0.0
    yaw_degrees: float = 0.0
    pitch_degrees: float = 0.0
    zoom: float = 1.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    cast: float = 0.0
    hue: float = 0.0
    erase: float = 0.0

    @property
    def moves(self) -> bool:
        """Whether the camera turns or zooms, for which its intrinsics must be known."""
        return self.zoom != 1.0 or any((self.roll_degrees, self.yaw_degrees, self.pitch_degrees))

    def without_moves(self) -> "Augment":
        """The same changes without turning and zooming."""
        return replace(self, roll_degrees=0.0, yaw_degrees=0.0, pitch_degrees=0.0, zoom=1.0)


@dataclass(frozen=True)
class Draws:
    """Random numbers for the rows of a batch, of which each process may have a part.

    Every process draws for the whole batch and keeps the rows of its share, so that an image gets
    the same change however many processes there are.

    Attributes:
        generator: of the random numbers, with the same seed in all processes.
        batch: number of rows of the whole batch.
        rows: those of this process.
    """

    generator: torch.Generator
    batch: int
    rows: slice

    def between(self, low: float, high: float, *columns: int) -> Shaped[Tensor, "..."]:
        """(rows, *columns) numbers, drawn uniformly from [low, high)."""
        drawn = torch.rand((self.batch, *columns), generator=self.generator)[self.rows]
        return low + (high - low) * drawn


def augmented(batch: Batch, settings: Augment, *, width: int, height: int, draws: Draws) -> Batch:
    """A batch of `width` x `height` images, cut, turned and coloured at random.

    The images of `batch` are at least that large and on any device, the rest of it is on the CPU. `draws` are
    for as many rows as it has.

    Raises:
        RecipeError: the camera should turn or zoom and its intrinsics are unknown.
    """
    turned = _turned(batch, settings, width=width, height=height, draws=draws)
    return turned.replace(images=_erased(_coloured(turned.images, settings, draws), settings, draws))


def centre_cut(batch: Batch, *, width: int, height: int) -> Batch:
    """The middle `width` x `height` of every image."""
    rows, columns = batch.images.shape[-2:]
    return _cut(batch, (columns - width) // 2, (rows - height) // 2, width=width, height=height)


def _cut(batch: Batch, left: int, top: int, *, width: int, height: int) -> Batch:
    images = batch.images[..., top : top + height, left : left + width]
    intrinsics = batch.intrinsics
    if intrinsics is not None:
        intrinsics = intrinsics.clone()
        intrinsics[:, 0, 2] -= left
        intrinsics[:, 1, 2] -= top
    return batch.replace(images=images, intrinsics=intrinsics)


def _turned(batch: Batch, settings: Augment, *, width: int, height: int, draws: Draws) -> Batch:
    if not settings.moves:
        if not settings.random_crop:
            return centre_cut(batch, width=width, height=height)
        return _cut_anywhere(batch, width=width, height=height, draws=draws)
    if batch.intrinsics is None:
        raise RecipeError("turning or zooming images needs the camera's intrinsics, which are unknown here")
    seen = batch.intrinsics.double()
    rows, columns = batch.images.shape[-2:]
    share = draws.between(0.0, 1.0, 2) if settings.random_crop else torch.full((len(batch), 2), 0.5)
    corner = share * torch.tensor([columns - width, rows - height])
    zoom = torch.exp(draws.between(-1.0, 1.0) * math.log(settings.zoom))
    wanted = seen.clone()
    wanted[:, :2, 2] -= corner
    wanted[:, 0, 0] *= zoom
    wanted[:, 1, 1] *= zoom
    degrees = torch.tensor([settings.pitch_degrees, settings.yaw_degrees, settings.roll_degrees])
    turn = torch.deg2rad(draws.between(-1.0, 1.0, 3) * degrees)
    old_from_new: Tensor = roma.euler_to_rotmat("ZYX", turn.flip(-1).double())
    grid = pixel_grid(width, height, like=batch.images).reshape(-1, 2)
    homography = seen @ old_from_new @ torch.linalg.inv(wanted)
    images, inside = _warped(batch.images, grid, to_device(homography, batch.images.device))
    pose = batch.world_from_cam
    return batch.replace(
        images=images.unflatten(-1, (height, width)),
        inside=inside.unflatten(-1, (height, width)),
        intrinsics=wanted.to(batch.intrinsics.dtype),
        world_from_cam=Pose(pose.rotation @ old_from_new.to(pose.rotation.dtype), pose.translation),
    )


def _cut_anywhere(batch: Batch, *, width: int, height: int, draws: Draws) -> Batch:
    rows, columns = batch.images.shape[-2:]
    room = torch.tensor([columns - width + 1, rows - height + 1])
    left, top = (draws.between(0.0, 1.0, 2) * room).long().T.tolist()
    cuts = [_cut(batch[i : i + 1], left[i], top[i], width=width, height=height) for i in range(len(batch))]
    intrinsics = [cut.intrinsics for cut in cuts if cut.intrinsics is not None]
    images = torch.cat([cut.images for cut in cuts])
    return batch.replace(images=images, intrinsics=torch.cat(intrinsics) if intrinsics else None)


def _warped(
    images: Float[Tensor, "b 3 h w"], pixels: Float[Tensor, "n 2"], homography: Float[Tensor, "b 3 3"]
) -> tuple[Float[Tensor, "b 3 n"], Bool[Tensor, "b n"]]:
    """The colours of `images` where `homography` maps `pixels`, and which of these points lie in the image.

    Beyond its edges the colours of the edges are repeated.
    """
    homogeneous = torch.cat((pixels, torch.ones_like(pixels[:, :1])), dim=-1)
    seen = homogeneous @ homography.transpose(-1, -2)
    rows, columns = images.shape[-2:]
    size = to_device(torch.tensor([columns, rows], dtype=seen.dtype), seen.device)
    # A ray that turned behind the camera has no pixel: it counts as far outside.
    flat = torch.where(seen[..., 2:] > 1e-6, seen[..., :2] / seen[..., 2:], 10.0 * size)
    grid = (flat / size * 2 - 1).float().unsqueeze(1)
    sampled = torch.nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return sampled.squeeze(-2), ((flat >= 0) & (flat <= size)).all(-1)


def _coloured(images: Float[Tensor, "b 3 h w"], settings: Augment, draws: Draws) -> Float[Tensor, "b 3 h w"]:
    if settings.brightness or settings.contrast or settings.saturation or settings.cast:
        images = _relit(images, settings, draws)
    if settings.hue:
        shifts = draws.between(-settings.hue, settings.hue).tolist()
        images = torch.stack(
            [colour.adjust_hue_image(one, shift) for one, shift in zip(images, shifts, strict=True)]
        )
    return images


def _relit(images: Float[Tensor, "b 3 h w"], settings: Augment, draws: Draws) -> Float[Tensor, "b 3 h w"]:
    """Brightness, contrast about the mean grey, saturation and cast: together one affine map of RGB."""

    def factor(strength: float) -> Tensor:
        return draws.between(1.0 - strength, 1.0 + strength, 1, 1)

    brightness, contrast, saturation = map(
        factor, (settings.brightness, settings.contrast, settings.saturation)
    )
    luma = torch.tensor([[0.299, 0.587, 0.114]], dtype=images.dtype)
    blend = saturation * torch.eye(3) + (1.0 - saturation) * luma.expand(3, 3)
    mean_grey = to_device(luma, images.device) @ images.mean((-2, -1)).unsqueeze(-1)
    shift = to_device((1.0 - contrast) * brightness, images.device) * mean_grey
    mixed = to_device(brightness * contrast * blend, images.device)
    relit = torch.einsum("bij,bjhw->bihw", mixed, images) + shift.unsqueeze(-1)
    if settings.cast:
        cast = draws.between(1.0 - settings.cast, 1.0 + settings.cast, 3, 1, 1)
        relit = relit * to_device(cast, images.device)
    return relit.clamp_(0.0, 1.0)


def _erased(images: Float[Tensor, "b 3 h w"], settings: Augment, draws: Draws) -> Float[Tensor, "b 3 h w"]:
    if settings.erase <= 0.0:
        return images
    height, width = images.shape[-2:]
    side = torch.sqrt(draws.between(0.0, settings.erase, 1))
    aspect = torch.exp(draws.between(-0.7, 0.7, 1))
    extent = torch.cat((side * aspect, side / aspect), dim=1).clamp_max(1.0)
    corner = draws.between(0.0, 1.0, 2) * (1.0 - extent)
    wanted = draws.between(0.0, 1.0) < 0.5
    x = (torch.arange(width) + 0.5) / width
    y = (torch.arange(height) + 0.5) / height
    across = (x > corner[:, :1]) & (x < corner[:, :1] + extent[:, :1])
    down = (y > corner[:, 1:]) & (y < corner[:, 1:] + extent[:, 1:])
    down, across = (to_device(side, images.device) for side in (down & wanted[:, None], across))
    covered = down[:, :, None] & across[:, None, :]
    return torch.where(covered[:, None], torch.full_like(images[:1, :1, :1, :1], 0.5), images)
