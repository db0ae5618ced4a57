"""What a training step costs: the package's own beside the popular implementations', measure by measure.

`dfcvae.bench.run.run_bench` and `dfcvae.bench.scaling.run_scaling` are what to call. Nothing is imported here: a
process that measures one row needs little, and there are many.
"""
