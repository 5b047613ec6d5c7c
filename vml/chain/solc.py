"""The Solidity compiler from npm, for the one thing that must be compiled on the user's machine: ezkl's verifiers.

Our own contracts ship compiled (`vml.chain.artifacts`).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from vml.errors import BackendUnavailable, ChainError

VERSION = "0.8.30"
"""As in verifier_contracts/package.json: another compiler makes other bytecode."""

SETTINGS: Mapping[str, Any] = {
    # ezkl's verifiers do not compile unoptimised, nor through the intermediate representation: the stack is too deep.
    "optimizer": {"enabled": True, "runs": 200},
    "viaIR": False,
    "evmVersion": "cancun",
    "metadata": {"bytecodeHash": "none"},
    "outputSelection": {"*": {"*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"]}},
}

MODULES = "VML_NODE_MODULES"
TIME_LIMIT_S = 300
_PROGRAM = """
const solc = require(process.argv[1]);
let text = "";
process.stdin.setEncoding("utf8");
process.stdin.on("data", (chunk) => { text += chunk; });
process.stdin.on("end", () => {
  process.stdout.write(JSON.stringify({ version: solc.version(), output: JSON.parse(solc.compile(text)) }));
});
"""


@dataclass(frozen=True)
class Compiled:
    """A contract.

    Args:
        contract: its name in the source.
        abi: as the compiler writes it.
        creation: bytecode that creates it.
        runtime: the code it will have.
    """

    contract: str
    abi: tuple[dict[str, Any], ...]
    creation: bytes
    runtime: bytes


def require_compiler() -> tuple[str, Path]:
    """Node, and the folder of the npm package ``solc``.

    Raises:
        BackendUnavailable: what to install.
    """
    node = shutil.which("node")
    if node is None:
        raise BackendUnavailable(
            f"Node is needed to compile a generated verifier: install Node 20 and npm solc@{VERSION}"
        )
    given = os.environ.get(MODULES)
    modules = Path(given) if given else Path(__file__).parents[2] / "verifier_contracts" / "node_modules"
    package = modules.resolve() / "solc"
    try:
        found = json.loads((package / "package.json").read_bytes())["version"]
    except (OSError, ValueError, KeyError, TypeError):
        raise BackendUnavailable(
            f"there is no Solidity compiler in {modules}: npm install solc@{VERSION} somewhere, "
            f"and name its node_modules in {MODULES}"
        ) from None
    if found != VERSION:
        raise BackendUnavailable(f"{package} is solc {found}, {VERSION} is needed: npm install solc@{VERSION}")
    return node, package


@lru_cache(maxsize=4)
def compile_one(source: str, name: str) -> Compiled:
    """Compile a file that holds one contract and imports nothing; the last few answers are kept.

    Args:
        source: Solidity.
        name: what to call the file.

    Raises:
        BackendUnavailable: Node or the compiler is missing.
        ChainError: it does not compile.
    """
    node, package = require_compiler()
    question = {"language": "Solidity", "sources": {name: {"content": source}}, "settings": SETTINGS}
    try:
        done = subprocess.run(
            [node, "-e", _PROGRAM, str(package)],
            input=json.dumps(question),
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT_S,
            check=True,
        )
        answer = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise ChainError(f"solc has not compiled {name} within {TIME_LIMIT_S} s") from None
    except subprocess.CalledProcessError as error:
        raise ChainError(f"solc failed on {name}: {error.stderr.strip()[-1000:]}") from None
    except ValueError:
        raise ChainError(f"solc gave no answer on {name}") from None
    if not str(answer["version"]).startswith(f"{VERSION}+"):
        raise BackendUnavailable(f"{package} is solc {answer['version']}, {VERSION} is needed")
    output = answer["output"]
    wrong = [e["formattedMessage"] for e in output.get("errors", ()) if e["severity"] == "error"]
    contracts = output.get("contracts", {}).get(name, {})
    if wrong or len(contracts) != 1:
        raise ChainError(f"{name} does not compile: {(wrong or ['it holds no single contract'])[0].strip()[:1000]}")
    ((contract, made),) = contracts.items()
    creation, runtime = made["evm"]["bytecode"]["object"], made["evm"]["deployedBytecode"]["object"]
    return Compiled(contract, tuple(made["abi"]), bytes.fromhex(creation), bytes.fromhex(runtime))
