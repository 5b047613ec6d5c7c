"""The field of the native sumcheck prover: Goldilocks and its quadratic extension.

* `vml.field.goldilocks`: plain Python integers, the definition; what a verifier computes with.
* `vml.field.kernels`, `vml.field.kernels_ntt`: numba twins on arrays, held to the definition by
  ``tests/parity/test_field_kernels.py``.
* `vml.field.ntt`: Reed-Solomon encoding of rows and evaluation of their polynomials, over all threads.
"""
