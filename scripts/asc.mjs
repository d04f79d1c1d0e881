// Compiles assembly/ to dist/core.wasm. The dispatch of the interpreter is written from the instruction table into
// build/ first, so the host's side (dist/src/isa) must have been built.
import asc from "assemblyscript/asc";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { dispatchText, packIsa } from "../dist/src/isa/index.js";

const top = join(dirname(fileURLToPath(import.meta.url)), "..");
const modules = new Map();
for (const f of readdirSync(join(top, "assembly"))) {
  if (!f.endsWith(".ts")) continue;
  const text = readFileSync(join(top, "assembly", f), "utf8");
  for (const m of text.matchAll(/export (?:function|class) (\w+)/g)) modules.set(m[1], f.slice(0, -3));
}
mkdirSync(join(top, "build"), { recursive: true });
writeFileSync(join(top, "build", "dispatch.ts"), dispatchText(packIsa(), (n) => modules.get(n)));

const { error, stderr } = await asc.main([
  "assembly/core.ts",
  "--config",
  "asconfig.json",
  "--baseDir",
  top,
  "--outFile",
  "dist/core.wasm",
]);
if (error) {
  process.stderr.write(`${error.message}\n${stderr.toString()}`);
  process.exit(1);
}
