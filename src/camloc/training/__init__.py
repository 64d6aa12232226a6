"""Learning a scene: images cached once, stages that say what trains, a loop that is a generator."""
