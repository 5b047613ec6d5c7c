#!/usr/bin/env node
// The solc of package-lock.json behind the command line that forge expects of a native compiler:
//   solc.mjs --version                    the version, as solc prints it
//   solc.mjs --standard-json [options]    standard input to standard output
// forge downloads a compiler unless it is given a program; npm's solc is a library, and its own program prints less.
import { readFileSync, writeSync } from "node:fs";
import solc from "solc";

/** Writes all of it: a pipe takes 64 KiB at a time and says EAGAIN when full. */
function print(text) {
  const bytes = Buffer.from(text, "utf8");
  for (let offset = 0; offset < bytes.length; ) {
    try {
      offset += writeSync(1, bytes, offset);
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
    }
  }
}

if (process.argv.includes("--version")) {
  // 0.8.30+commit.73712a01.Emscripten.clang; forge reads the number and the commit.
  print(`solc, the solidity compiler commandline interface\nVersion: ${solc.version().replace(".Emscripten.clang", ".Linux.g++")}\n`);
} else if (process.argv.includes("--standard-json")) {
  print(solc.compile(readFileSync(0, "utf8")));
} else {
  console.error("usage: solc.mjs --version | --standard-json < input");
  process.exit(2);
}
