// Compiles assembly/ to core.wasm in a folder (dist/ unless given). The dispatch of the interpreter is written from the
// instruction table into build/ first, so the host's side (src/isa in that folder) must have been built.
import asc from "assemblyscript/asc";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const top = join(dirname(fileURLToPath(import.meta.url)), "..");
const out = resolve(process.argv[2] ?? join(top, "dist"));
const { dispatchText, packIsa } = await import(pathToFileURL(join(out, "src/isa/index.js")).href);

const modules = new Map();
for (const f of readdirSync(join(top, "assembly"))) {
  if (!f.endsWith(".ts")) continue;
  const text = readFileSync(join(top, "assembly", f), "utf8");
  for (const m of text.matchAll(/export (?:function|class) (\w+)/g)) {
    modules.set(m[1], f.slice(0, -3));
  }
}
mkdirSync(join(top, "build"), { recursive: true });
writeFileSync(
  join(top, "build", "dispatch.ts"),
  dispatchText(packIsa(), (n) => modules.get(n)),
);

const outFile = relative(top, join(out, "core.wasm"));
const args = ["assembly/core.ts", "--config", "asconfig.json", "--baseDir", top];
const { error, stderr } = await asc.main([...args, "--outFile", outFile]);
if (error) {
  process.stderr.write(`${stderr.toString()}${error.message}\n`);
  process.exit(1);
}
