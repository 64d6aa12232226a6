"""Conditions of the Extended Cambridge Landmarks, "HyperPose" supplement (2025), section 1.1: `camloc edit`.

The supplement names the editor, InstructPix2Pix, and what each condition shows: snow that covers roads and
pavements in part, lit street lamps and a darker sky. It prints neither prompts nor guidance; these are ours.
"""

from camloc.data.editing import Edit


def conditions() -> dict[str, Edit]:
    """Instructions and guidance of each condition, by its name."""
    return {
        "winter": Edit(
            "make it winter, with snow on parts of the roads, the pavements and the roofs",
            image_guidance=1.6,
            text_guidance=7.5,
        ),
        "summer": Edit(
            "make it a sunny summer day with a clear blue sky and green leaves",
            image_guidance=1.8,
            text_guidance=7.0,
        ),
        "evening": Edit(
            "make it evening, with a dark sky and lit street lamps", image_guidance=1.6, text_guidance=7.5
        ),
    }
