"""What runs inside: the codes that are hashed are those that were run, and each receipt has its own number."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from tests.backends.tee.signed_runs import AT, CONTEXT, INPUTS, check, decoded, mallorys_key, model, receipt_key, row_of
from vml.backends.exact import statement
from vml.backends.tee.inside import ReceiptKey, run
from vml.errors import OutOfRange, ProvingError
from vml.model import Model
from vml.model.executor import Executor
from vml.proof import Proof
from vml.tee_sim import matching_policy


def ran(codes: dict[str, Any], at: int = AT) -> Proof:
    key, attestation = receipt_key()
    return run(model(), key, attestation, codes, CONTEXT, at)


def test_the_callers_arrays_are_not_what_is_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host writes over its buffer while the engine runs."""
    codes = model().quantize(INPUTS)
    wanted = ran(dict(codes))
    real = Executor.run

    def slow(self: Executor, inputs: Any, keep: Any = ()) -> Any:
        for values in codes.values():
            values[...] = 1
        return real(self, inputs, keep)

    monkeypatch.setattr(Executor, "run", slow)
    made = ran(codes)
    assert made.claims == wanted.claims
    assert made.public == wanted.public
    assert check(made)


def test_the_result_is_the_exact_models() -> None:
    codes = model().quantize(INPUTS)
    made = ran(codes)
    assert check(made).claims[0].model == model().commitment
    assert row_of(made) == statement.row_of(model().inputs, model().outputs, codes, model().run_exact(codes))


@pytest.mark.parametrize("dtype", [np.int64, np.int32])
def test_codes_out_of_range_are_refused_not_wrapped(dtype: Any) -> None:
    codes = {name: values.astype(dtype) for name, values in model().quantize(INPUTS).items()}
    assert ran(codes).claims == ran(model().quantize(INPUTS)).claims
    codes["x"][0, 0] += 1 << 16
    with pytest.raises(OutOfRange):
        ran(codes)


@pytest.mark.parametrize("change", [{"x": None}, {"z": np.zeros(3, np.int16)}])
def test_other_inputs(change: dict[str, Any]) -> None:
    codes = {k: v for k, v in {**model().quantize(INPUTS), **change}.items() if v is not None}
    with pytest.raises(ValueError, match="has the inputs x, y"):
        ran(codes)


def test_floats_are_no_codes() -> None:
    with pytest.raises(ValueError, match="integer"):
        ran({name: values.astype(np.float64) for name, values in model().quantize(INPUTS).items()})


def test_a_key_of_another_model() -> None:
    from tests.laws.random_graphs import random_graph

    other = Model(random_graph(1), b"", None, {})  # type: ignore[arg-type]  # no certificate is looked at
    key, attestation = receipt_key()
    with pytest.raises(ProvingError, match="signs for the model"):
        run(other, key, attestation, {}, CONTEXT, AT)


def test_a_key_whose_time_is_over() -> None:
    end = receipt_key()[0].certificate.not_after
    assert ran(model().quantize(INPUTS), end)
    with pytest.raises(ProvingError, match="attest a new one"):
        ran(model().quantize(INPUTS), end + 1)


def test_a_certificate_of_something_else() -> None:
    key = receipt_key()[0]
    with pytest.raises(ValueError, match="another key's"):
        ReceiptKey(mallorys_key(), key.certificate, key.policy)
    with pytest.raises(ValueError, match="another policy"):
        ReceiptKey(key._key, key.certificate, matching_policy("snp"))


def test_every_receipt_has_its_own_number() -> None:
    key, _ = receipt_key()
    numbers: list[int] = []

    def sign() -> None:
        numbers.extend(key.sign(b"\1" * 32, AT)[0].sequence for _ in range(20))

    threads = [threading.Thread(target=sign) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, 81))


def test_receipts_are_counted_on() -> None:
    key, attestation = receipt_key()
    codes = model().quantize(INPUTS)
    made = [decoded(run(model(), key, attestation, codes, CONTEXT, AT)).sequence for _ in range(3)]
    assert made == [1, 2, 3]
