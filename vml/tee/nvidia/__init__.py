"""Reports of NVIDIA GPUs."""
