"""Certificates: a named authority's word about a model, and the lists that take it back (docs/certificates.md).

`statement` is what is said and how it is written, `revocations` the lists, `authority` who may say it, `signatures` and
`chain` how that is checked, `verify` the steps of a verifier; `signing` and `measure` are the authority's own tools.
"""
