"""`dfcvae explore`: a local web page that shows what a trained VAE can do. Only this folder imports NiceGUI."""
