"""Features of networks: without their package or their weights a sentence says what is missing."""

import subprocess
import sys
from pathlib import Path

import pytest

from camloc.errors import MissingExtraError
from camloc.mapping.features import FeatureSettings, feature_extractor


@pytest.mark.parametrize("extractor", ["xfeat", "aliked"])
def test_a_missing_package_or_file_is_named(extractor: str, tmp_path: Path) -> None:
    settings = FeatureSettings(extractor=extractor, weights=str(tmp_path / "none"))  # type: ignore[arg-type]
    with pytest.raises(MissingExtraError, match=extractor):
        feature_extractor(settings)


def test_sift_needs_no_torch() -> None:
    program = (
        "import sys; from camloc.mapping.features import FeatureSettings, feature_extractor;"
        "import camloc.mapping.matching, camloc.mapping.triangulation, camloc.mapping.selection;"
        "import camloc.mapping.scene_map, camloc.mapping.bundle_adjustment, camloc.mapping.retrieval;"
        "feature_extractor(FeatureSettings()); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
