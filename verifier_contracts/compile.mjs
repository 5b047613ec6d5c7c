// Compiles every contract under src/ and test/ (forge's own tests, *.t.sol, apart) with the pinned solc and writes one
// JSON file:  {"File.sol:Name": {"abi": [...], "bytecode": "0x...", "runtime": "0x..."}}
// Usage: node compile.mjs [OUTPUT]     (default build/contracts.json; "-" is standard output)
// Warnings are errors. The output is not committed: it follows from the sources and package-lock.json.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import solc from "solc";

const here = dirname(fileURLToPath(import.meta.url));
const output = process.argv[2] ?? join(here, "build", "contracts.json");

// As in foundry.toml: forge and this program must make the same bytecode.
const settings = {
  remappings: ["@openzeppelin/=node_modules/@openzeppelin/"],
  optimizer: { enabled: true, runs: 200 },
  evmVersion: "cancun",
  metadata: { bytecodeHash: "none" },
  outputSelection: { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] } },
};

/** Sources that are imported and not listed: packages from npm, nothing else. */
function imported(path) {
  if (!path.startsWith("node_modules/")) return { error: `${path} is not a source of ours` };
  try {
    return { contents: readFileSync(join(here, path), "utf8") };
  } catch {
    return { error: `${path} is not there: run make contracts` };
  }
}

const sources = {};
for (const root of ["src", "test"]) {
  for (const entry of readdirSync(join(here, root), { recursive: true }).sort()) {
    if (!entry.endsWith(".sol") || entry.endsWith(".t.sol")) continue;
    const path = join(here, root, entry);
    sources[relative(here, path).replaceAll("\\", "/")] = { content: readFileSync(path, "utf8") };
  }
}

const input = { language: "Solidity", sources, settings };
const result = JSON.parse(solc.compile(JSON.stringify(input), { import: imported }));

if (result.errors?.length) {
  for (const error of result.errors) console.error(error.formattedMessage);
  process.exit(1);
}

const artifacts = {};
for (const [file, contracts] of Object.entries(result.contracts)) {
  if (!(file in sources)) continue;
  for (const [name, { abi, evm }] of Object.entries(contracts)) {
    const key = `${file.split("/").pop()}:${name}`;
    if (key in artifacts) throw new Error(`two contracts are named ${key}`);
    artifacts[key] = {
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
