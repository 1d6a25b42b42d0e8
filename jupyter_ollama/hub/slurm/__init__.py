"""The endpoint of a Hub as a Slurm job: a small front submits it, finds it and passes calls on."""
