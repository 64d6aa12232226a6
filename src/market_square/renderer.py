"""Images of the square from any pose, with depth and a mask of the moving objects."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from market_square.arrays import FloatArray, single
from market_square.atmosphere import CONDITIONS, Condition
from market_square.film import PERFECT_FILM, Film, develop
from market_square.fragments import (
    SAMPLES_PER_SIDE,
    Fragments,
    blend,
    gather_fragments,
    of_main_fragment,
)
from market_square.lighting import light_from, through_fog
from market_square.primitives import Primitives
from market_square.shadows import ShadowMap, SkyVisibility
from market_square.sky import paint_sky, sky_color
from market_square.square import build_square
from market_square.surfaces import surface, view_rays
from market_square.viewpoint import PinholeCamera, RigidMotion, Viewpoint
from market_square.visibility import visible_primitives

_OCCLUDER_SHADOW_PIXELS = 768


class RenderedView(NamedTuple):
    """An image: `rgb` (h, w, 3), `depth` (h, w) z-depth in metres, 0 for sky, and `is_occluder` (h, w)."""

    rgb: NDArray[np.uint8]
    depth: FloatArray
    is_occluder: NDArray[np.bool_]


class _Light(NamedTuple):
    light: FloatArray
    depth: FloatArray
    is_occluder: NDArray[np.bool_]


class Renderer:
    """Renders the square. Data that only some conditions need is computed on first use.

    The same arguments give the same pixels in every process on one kind of machine.
    """

    def __init__(self, *, seed: int = 0) -> None:
        """`seed` chooses the look of the facades, roofs and trees."""
        self.square = build_square(seed)
        self._seed = seed
        self._shadows: dict[str, ShadowMap] = {}
        self._skies: dict[str, FloatArray] = {}

    def render_view(
        self,
        world_from_cam: NDArray[np.float64] | RigidMotion,
        camera: PinholeCamera,
        *,
        condition: str = "day",
        occluders: Primitives | None = None,
        film: Film = PERFECT_FILM,
        seed: int = 0,
        exposure_path: Sequence[NDArray[np.float64]] = (),
    ) -> RenderedView:
        """Render one image of the square.

        Args:
            world_from_cam: a 4 x 4 matrix, or an object with a method `matrix()`; camera axes right, down,
                forward; world in metres, z up.
            camera: pinhole intrinsics; distortion is not drawn.
            condition: a name in CONDITIONS.
            occluders: moving objects, such as a `Crowd` at one time.
            film: exposure, white balance and noise of the camera, drawn from `seed`.
            exposure_path: further 4 x 4 poses while the shutter is open; the image is the mean over all
                poses, which is motion blur. Depth and mask belong to `world_from_cam`.

        Raises:
            ValueError: there is no such condition.
        """
        if condition not in CONDITIONS:
            raise ValueError(f"unknown condition '{condition}', choose from {', '.join(CONDITIONS)}")
        light = CONDITIONS[condition]
        main = self._expose(Viewpoint.from_matrix(_as_matrix(world_from_cam), camera), light, occluders)
        exposed = main.light
        for matrix in exposure_path:
            exposed = exposed + self._expose(Viewpoint.from_matrix(matrix, camera), light, occluders).light
        image = develop(exposed / np.float32(1 + len(exposure_path)), light, film=film, seed=seed)
        return RenderedView(image, main.depth, main.is_occluder)

    def _expose(self, viewpoint: Viewpoint, condition: Condition, occluders: Primitives | None) -> _Light:
        primitives = self.square.primitives
        if occluders is not None:
            primitives = primitives.joined(occluders)
        visible = visible_primitives(viewpoint.enlarged(SAMPLES_PER_SIDE), primitives, self.square.atlas)
        fragments = gather_fragments(visible)
        color = self._colors(fragments, viewpoint, condition, primitives, occluders)
        shape, pixels = (viewpoint.height, viewpoint.width), viewpoint.height * viewpoint.width
        hits = fragments.primitive >= 0
        depth = np.zeros(len(color), np.float32)
        np.divide(1, fragments.nearness, out=depth, where=hits)
        moves = hits & primitives.is_occluder[fragments.primitive]
        return _Light(
            blend(fragments, color, pixels=pixels).reshape(*shape, 3),
            of_main_fragment(fragments, depth, pixels=pixels).reshape(shape),
            of_main_fragment(fragments, moves, pixels=pixels).reshape(shape),
        )

    def _colors(
        self,
        fragments: Fragments,
        viewpoint: Viewpoint,
        condition: Condition,
        primitives: Primitives,
        occluders: Primitives | None,
    ) -> FloatArray:
        color = np.empty((len(fragments.pixel), 3), np.float32)
        hits = fragments.primitive >= 0
        near, far = fragments.select(hits), fragments.select(~hits)
        lit = light_from(
            surface(near, viewpoint, primitives, self.square.atlas),
            condition,
            sky=_sky_visibility(self._seed),
            shadows=self._shadow_maps(condition, occluders),
            lamps=self.square.lamps,
        )
        color[hits] = through_fog(lit, single(1 / near.nearness), condition)
        color[~hits] = sky_color(self._painted_sky(condition), view_rays(far, viewpoint))
        return color

    def _painted_sky(self, condition: Condition) -> FloatArray:
        if condition.name not in self._skies:
            self._skies[condition.name] = paint_sky(condition)
        return self._skies[condition.name]

    def _shadow_maps(self, condition: Condition, occluders: Primitives | None) -> tuple[ShadowMap, ...]:
        if condition.sun is None:
            return ()
        toward, atlas = condition.sun.direction(), self.square.atlas
        if condition.name not in self._shadows:
            self._shadows[condition.name] = ShadowMap.towards(toward, self.square.primitives, atlas)
        static = self._shadows[condition.name]
        if occluders is None:
            return (static,)
        # Moving objects get a small map of their own, so that the large one is drawn once.
        return static, ShadowMap.towards(toward, occluders, atlas, pixels=_OCCLUDER_SHADOW_PIXELS)


@lru_cache(maxsize=2)
def _sky_visibility(seed: int) -> SkyVisibility:
    square = build_square(seed)
    return SkyVisibility(square.primitives, square.atlas)


def _as_matrix(world_from_cam: NDArray[np.float64] | RigidMotion) -> NDArray[np.float64]:
    matrix = world_from_cam.matrix() if isinstance(world_from_cam, RigidMotion) else world_from_cam
    return np.asarray(matrix, np.float64)
