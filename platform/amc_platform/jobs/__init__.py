"""Sending an experiment to where it is to run: a Ray cluster, Kubernetes, Slurm, or the background of this machine."""
