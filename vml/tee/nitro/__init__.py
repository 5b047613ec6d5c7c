"""AWS Nitro attestation documents."""
