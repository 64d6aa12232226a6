"""EXIF orientation: how a picture is stored, and how it is upright."""

from PIL import ExifTags, Image

# The turn that brings a picture upright, for each value of the EXIF orientation but 1.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# The others undo themselves.
_UNDONE = {
    Image.Transpose.ROTATE_90: Image.Transpose.ROTATE_270,
    Image.Transpose.ROTATE_270: Image.Transpose.ROTATE_90,
}


def exif_orientation(picture: Image.Image) -> int:
    """The EXIF orientation of a picture, from 1 (upright) to 8; 1 where it has none that makes sense.

    Only the orientation is read: Pillow's own turning writes the other EXIF fields anew, and fails
    where these are damaged.
    """
    try:
        found = picture.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged EXIF beside a sound picture
        return 1
    return found if found in _TURNS else 1


def turned_upright(stored: Image.Image, orientation: int) -> Image.Image:
    """A picture as its EXIF orientation says that it is to be seen."""
    turn = _TURNS.get(orientation)
    return stored if turn is None else stored.transpose(turn)


def turned_as_stored(upright: Image.Image, orientation: int) -> Image.Image:
    """An upright picture as a camera would store it that notes the EXIF orientation."""
    turn = _TURNS.get(orientation)
    return upright if turn is None else upright.transpose(_UNDONE.get(turn, turn))
