// Runs the pinned forge:  node forge.mjs test | fmt --check | snapshot --check | build ...
// The binary comes with a package of its own for each platform, of which npm installs what fits. FORGE names another.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const platform = { "linux-x64": "linux-amd64" }[`${process.platform}-${process.arch}`];
const packaged = platform && join(here, "node_modules", "@foundry-rs", `forge-${platform}`, "bin", "forge");
const forge = process.env.FORGE || (packaged && existsSync(packaged) ? packaged : undefined);

if (!forge) {
  console.error(
    platform
      ? "forge is not installed: run make contracts (npm ci, without --omit=optional)"
      : `package.json pins forge 1.7.1 for Linux on x86-64 only, not for ${process.platform} on ${process.arch}: ` +
          "install Foundry 1.7.1 and name its binary, FORGE=/path/to/forge. Compiling (make contracts) needs no forge.",
  );
  process.exit(3);
}

const { status, signal, error } = spawnSync(forge, process.argv.slice(2), { cwd: here, stdio: "inherit" });
if (error) {
  console.error(`${forge}: ${error.message}`);
  process.exit(3);
}
process.exit(signal ? 1 : status);
