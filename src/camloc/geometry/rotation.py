"""Rotation angles, unit quaternions, and the rotation nearest to a matrix."""

from jaxtyping import Float

from camloc.geometry.arrays import Array, array_namespace, is_torch_array, undefined_is_nan


def rotation_angle(
    first: Float[Array, "*#batch 3 3"], second: Float[Array, "*#batch 3 3"]
) -> Float[Array, "*batch"]:
    """Angle in radians, within [0, pi], of the rotation from `first` to `second`.

    It is accurate near 0 and near pi, where the arc cosine of a rounded trace loses half of its digits or is
    NaN: with R the relative rotation, `|R - R^T|_F = 2 sqrt(2) sin(angle)` and
    `trace(R) - 1 = 2 cos(angle)`, and the arc tangent of the two is well conditioned everywhere.
    """
    xp = array_namespace(first, second)
    difference = first.mT @ second
    skew = difference - difference.mT
    axis = xp.stack((skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]), axis=-1)
    twice_sine = xp.linalg.vector_norm(axis, axis=-1)
    twice_cosine = xp.linalg.diagonal(difference).sum(-1) - 1.0
    return xp.atan2(twice_sine, twice_cosine)


def rotation_vector(rotation: Float[Array, "*batch 3 3"]) -> Float[Array, "*batch 3"]:
    """Axis times angle in radians of rotations, the inverse of the exponential map, for angles below pi.

    At pi the axis is not determined by the skew part of the matrix: the vector is zero there.
    """
    xp = array_namespace(rotation)
    skew = (rotation - rotation.mT) / 2.0
    axis = xp.stack((skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]), axis=-1)
    sine = xp.linalg.vector_norm(axis, axis=-1, keepdims=True)
    cosine = ((xp.linalg.diagonal(rotation).sum(-1) - 1.0) / 2.0)[..., None]
    is_small = sine < 1e-12
    factor = xp.where(is_small, xp.ones_like(sine), xp.atan2(sine, cosine) / xp.where(is_small, 1.0, sine))
    return axis * factor


@undefined_is_nan
def rotation_from_quaternion_wxyz(
    quaternion_wxyz: Float[Array, "*batch 4"],
) -> Float[Array, "*batch 3 3"]:
    """Rotation matrix of a quaternion (w first), which need not have unit length.

    The zero quaternion is not a rotation: its matrix is NaN, which later checks detect.
    """
    xp = array_namespace(quaternion_wxyz)
    unit = quaternion_wxyz / xp.linalg.vector_norm(quaternion_wxyz, axis=-1, keepdims=True)
    w, x, y, z = (unit[..., index] for index in range(4))
    xx, yy, zz, ww = x * x, y * y, z * z, w * w
    xy, zw, xz, yw, yz, xw = x * y, z * w, x * z, y * w, y * z, x * w
    rows = (
        *(xx - yy - zz + ww, 2 * (xy - zw), 2 * (xz + yw)),
        *(2 * (xy + zw), -xx + yy - zz + ww, 2 * (yz - xw)),
        *(2 * (xz - yw), 2 * (yz + xw), -xx - yy + zz + ww),
    )
    return xp.reshape(xp.stack(rows, axis=-1), (*quaternion_wxyz.shape[:-1], 3, 3))


def quaternion_wxyz_from_rotation(
    rotation: Float[Array, "*batch 3 3"],
) -> Float[Array, "*batch 4"]:
    """Unit quaternion (w first) of a rotation matrix, in the hemisphere of w >= 0.

    q and -q are the same rotation; a network that is trained on quaternions needs a unique one.
    Sums and differences of the matrix's entries are the sixteen products `4 q_i q_j`. The row of the
    largest `q_i` is the quaternion up to its length, without cancellation.

    Source: Markley 2008, "Unit quaternion from rotation matrix", equations 7 to 9.
    """
    xp = array_namespace(rotation)
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = (
        [rotation[..., row, column] for column in range(3)] for row in range(3)
    )
    wx, wy, wz = zy - yz, xz - zx, yx - xy
    products = (
        *(1 + xx - yy - zz, yx + xy, zx + xz, wx),
        *(xy + yx, 1 + yy - zz - xx, zy + yz, wy),
        *(xz + zx, yz + zy, 1 + zz - xx - yy, wz),
        *(wx, wy, wz, 1 + xx + yy + zz),
    )
    square = xp.reshape(xp.stack(products, axis=-1), (*rotation.shape[:-2], 4, 4))  # x, y, z, w
    largest = xp.argmax(xp.linalg.diagonal(square), axis=-1)[..., None, None]
    index = xp.broadcast_to(largest, (*rotation.shape[:-2], 1, 4))
    row = xp.take_along_axis(square, index, axis=-2)[..., 0, :]
    unit = row / xp.linalg.vector_norm(row, axis=-1, keepdims=True)
    quaternion_wxyz = xp.concat((unit[..., 3:], unit[..., :3]), axis=-1)
    return xp.where(quaternion_wxyz[..., :1] < 0, -quaternion_wxyz, quaternion_wxyz)


def nearest_rotation(matrix: Float[Array, "*batch 3 3"]) -> Float[Array, "*batch 3 3"]:
    """The proper rotation (determinant +1) nearest to `matrix` in the Frobenius norm.

    The result does not depend on the scale of `matrix`. A matrix that is not finite gives NaN.
    """
    if is_torch_array(matrix) and matrix.requires_grad:
        import torch

        if torch.is_grad_enabled():
            return _differentiable_nearest_rotation(matrix)
    return _proper_polar_factor(matrix)


def _differentiable_nearest_rotation(matrix: Array) -> Array:
    """The nearest rotation of tensors, with a derivative.

    roma damps the derivative below an absolute size, which would silently disable it for covariances of
    points a few millimetres apart. The matrix is therefore scaled first.
    """
    import roma
    import torch

    scale = matrix.detach().abs().amax((-2, -1), keepdim=True)
    return roma.special_procrustes(matrix / torch.where(scale > 0, scale, 1.0))


def _proper_polar_factor(matrix: Array) -> Array:
    """The nearest rotation without a derivative; roma's differentiable one takes thirty times as long."""
    xp = array_namespace(matrix)
    is_finite = xp.isfinite(matrix).all(-1)[..., None].all(-2)[..., None]
    left, _, right = xp.linalg.svd(xp.where(is_finite, matrix, 0.0))
    # Where the product is a reflection, the axis of the smallest singular value is reversed.
    is_mirror = xp.linalg.det(left @ right)[..., None, None] < 0
    handedness = 1.0 - 2.0 * xp.astype(is_mirror, matrix.dtype)
    rotation = xp.concat((left[..., :2], left[..., 2:] * handedness), axis=-1) @ right
    return xp.where(is_finite, rotation, xp.nan)
