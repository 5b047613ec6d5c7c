"""Intel SGX and TDX quotes (DCAP), checked offline against collateral that travels with them.

``quote`` reads, ``collateral`` reads what Intel's services say, ``tcb`` decides how current the platform is,
``eventlog`` replays what went into the run-time registers, ``verify`` is the numbered list of steps.
"""
