// Compiles every contract under src/ and test/ with the pinned solc and writes one JSON file:
//   {"File.sol:Name": {"abi": [...], "bytecode": "0x...", "runtime": "0x..."}}
// Usage: node compile.mjs [OUTPUT]     (default build/contracts.json; "-" is standard output)
// Warnings are errors. The output is not committed: it follows from the sources and package-lock.json.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import solc from "solc";

const here = dirname(fileURLToPath(import.meta.url));
const output = process.argv[2] ?? join(here, "build", "contracts.json");

const sources = {};
for (const root of ["src", "test"]) {
  for (const entry of readdirSync(join(here, root), { recursive: true }).sort()) {
    if (!entry.endsWith(".sol")) continue;
    const path = join(here, root, entry);
    sources[relative(here, path).replaceAll("\\", "/")] = { content: readFileSync(path, "utf8") };
  }
}

const result = JSON.parse(
  solc.compile(
    JSON.stringify({
      language: "Solidity",
      sources,
      settings: {
        optimizer: { enabled: true, runs: 200 },
        evmVersion: "cancun",
        outputSelection: { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] } },
      },
    }),
  ),
);

if (result.errors?.length) {
  for (const error of result.errors) console.error(error.formattedMessage);
  process.exit(1);
}

const artifacts = {};
for (const [file, contracts] of Object.entries(result.contracts)) {
  for (const [name, { abi, evm }] of Object.entries(contracts)) {
    artifacts[`${file.split("/").pop()}:${name}`] = {
      abi,
      bytecode: `0x${evm.bytecode.object}`,
      runtime: `0x${evm.deployedBytecode.object}`,
    };
  }
}

const text = `${JSON.stringify(artifacts, null, 1)}\n`;
if (output === "-") {
  process.stdout.write(text);
} else {
  mkdirSync(dirname(resolve(output)), { recursive: true });
  writeFileSync(output, text);
}
