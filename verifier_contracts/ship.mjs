// Writes the contracts that ship with the Python package: each concrete contract of src/ that has its file's name, from
// build/contracts.json to ../vml/chain/data/NAME.json, and removes what is no longer one. A test compiles again and
// compares (tests/parity/test_shipped_contracts.py), so these files are committed and never edited.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import solc from "solc";

const here = dirname(fileURLToPath(import.meta.url));
const target = join(here, "..", "vml", "chain", "data");
const compiled = JSON.parse(readFileSync(join(here, "build", "contracts.json"), "utf8"));
const compiler = solc.version().replace(/\.Emscripten.*/, "");

const shipped = new Map();
for (const entry of readdirSync(join(here, "src"), { recursive: true }).sort()) {
  const source = entry.replaceAll("\\", "/");
  if (!source.endsWith(".sol") || /^(interfaces|libraries)\//.test(source)) continue;
  const name = source.split("/").pop().replace(/\.sol$/, "");
  const contract = compiled[`${name}.sol:${name}`];
  // An interface has no code, a library whose functions are all internal has none to call.
  if (!contract || contract.bytecode === "0x" || !contract.abi.some((entry) => entry.type === "function")) continue;
  const { abi, bytecode } = contract;
  shipped.set(`${name}.json`, `${JSON.stringify({ source: `src/${source}`, compiler, abi, bytecode }, null, 1)}\n`);
}

mkdirSync(target, { recursive: true });
for (const name of readdirSync(target)) if (!shipped.has(name)) rmSync(join(target, name));
for (const [name, text] of shipped) writeFileSync(join(target, name), text);
