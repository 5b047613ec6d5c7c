"""AMD SEV-SNP reports."""
