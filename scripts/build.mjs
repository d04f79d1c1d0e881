// Builds dist/: the core (AssemblyScript to wasm) and the host (TypeScript to JavaScript).
// The dispatch of the interpreter is generated from the instruction table first, into build/,
// because the table is the only place that names the forms.
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const top = join(dirname(fileURLToPath(import.meta.url)), "..");

function step(what, args) {
  const r = spawnSync(process.execPath, args, { cwd: top, encoding: "utf8" });
  if (r.status === 0) return;
  process.stderr.write(`error: build: ${what} failed\n${r.stdout}${r.stderr}`);
  process.exit(2);
}

export function build() {
  mkdirSync(join(top, "dist"), { recursive: true });
  step("tsc", ["node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json"]);
  step("asc", ["scripts/asc.mjs"]);
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) build();
