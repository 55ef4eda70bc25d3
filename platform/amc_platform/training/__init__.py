"""Training: one step, the loop around it, checkpoints, and the Ray Train worker that runs it."""
