"""Parts that several papers share: backbones, generated layers, losses, the form of a regressor's output."""
