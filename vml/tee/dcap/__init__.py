"""Intel SGX and TDX quotes (DCAP)."""
