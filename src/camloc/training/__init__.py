"""Learning a place: pictures cached once, stages that say what trains, a loop that is a generator."""
