#!/bin/sh
# Gathers what an image is built of: stage.sh MODEL.vml OUT [WHEELS], run in the root of this repository.
# Wheels come from the package index in the versions of constraints.txt, or from WHEELS, a folder of an earlier run.
# With FLOAT=1 in the environment onnxruntime comes along, for --engine float.
# OUT/wheels/SHA256SUMS says which they were: keep it, and the wheels, with your reference values.
set -eu
model=$1 out=$2 wheels=${3:-}
mkdir -p "$out/wheels"
source=$(mktemp -d)
trap 'rm -rf "$source"' EXIT
git archive HEAD | tar -x -C "$source"
cp -r "$source/attestation" "$source/attestation/image/Dockerfile" "$source/attestation/image/init" "$out/"
cp -r "$model" "$out/model"
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
if [ -n "$wheels" ]; then
    cp "$wheels"/*.whl "$out/wheels/"
else
    python3 -m pip wheel --quiet --no-deps --wheel-dir "$out/wheels" "$source"
    python3 -m pip download --quiet --only-binary :all: --dest "$out/wheels" --constraint constraints.txt \
        numpy numba threadpoolctl pycryptodome pydantic pyyaml rfc8785 safetensors cryptography cbor2 \
        ${FLOAT:+onnx onnxruntime}
fi
(cd "$out/wheels" && sha256sum -- *.whl > SHA256SUMS)
echo "SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH"
