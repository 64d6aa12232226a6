"""The first lines of a program in whose process the libraries of training and reports cannot be imported."""

WITHOUT_TORCH = """\
import sys
_blocked = {
    "torch", "torchvision", "timm", "lightning_fabric", "roma", "tensorboard", "huggingface_hub",
    "onnx", "onnxscript", "matplotlib", "jinja2",
}
class _Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in _blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, _Blocker())
"""
