"""Studies: an experiment and variations of it, crossed with seeds, at equal budget."""
