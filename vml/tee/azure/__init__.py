"""TPM quotes of Azure's confidential VMs, bound to the hardware report."""
