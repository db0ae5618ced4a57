"""A local web page to look at a trained VAE and play with it: `dfcvae explore`. NiceGUI is imported nowhere else."""
