"""From an experiment to the trials that are still to be run."""
