"""Reports on trained models: what they are made of, how they are written, and the comparison of several models."""
