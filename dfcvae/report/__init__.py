"""Reports on trained models: what they consist of, and how they are written."""
