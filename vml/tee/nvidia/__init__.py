"""Reports of NVIDIA GPUs: the report (``report``), reference manifests (``rim``) and the check (``verify``)."""
