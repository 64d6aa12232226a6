"""The nouns that every other part speaks: frames, scenes, views, estimates, models, settings."""
