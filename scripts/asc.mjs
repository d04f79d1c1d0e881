// Compiles assembly/ to core.wasm in a folder (dist/ unless given). The dispatch of the interpreter is written from the
// instruction table into build/ first, so the host's side (src/isa in that folder) must have been built.
import asc from "assemblyscript/asc";
import binaryen from "binaryen";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const top = join(dirname(fileURLToPath(import.meta.url)), "..");
const out = resolve(process.argv[2] ?? join(top, "dist"));
const { dispatchText, packIsa } = await import(pathToFileURL(join(out, "src/isa/index.js")).href);

const isa = packIsa();
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
  dispatchText(isa, (n) => modules.get(n)),
);

// What the engine of the oldest Node here has.
const FEATURES = [
  "BulkMemory",
  "BulkMemoryOpt",
  "MutableGlobals",
  "NontrappingFPToInt",
  "SignExt",
  "SIMD128",
];
// An operation takes in the small functions that it is made of, and stays a function of its own: asc's own limits at -O1
// inline nothing, and those at -O2 and above put every operation into the interpreter's switch. See docs/decisions.
const INLINE = { always: 40, flexible: 60, oneCaller: 10 };

const raw = join(out, "core.raw.wasm");
const args = ["assembly/core.ts", "--config", "asconfig.json", "--baseDir", top];
const { error, stderr } = await asc.main([...args, "--outFile", relative(top, raw)]);
if (error) {
  process.stderr.write(`${stderr.toString()}${error.message}\n`);
  process.exit(1);
}
const module = binaryen.readBinary(readFileSync(raw));
rmSync(raw);
module.setFeatures(FEATURES.reduce((all, f) => all | binaryen.Features[f], 0));
binaryen.setOptimizeLevel(2);
binaryen.setShrinkLevel(0);
binaryen.setAlwaysInlineMaxSize(INLINE.always);
binaryen.setFlexibleInlineMaxSize(INLINE.flexible);
binaryen.setOneCallerInlineMaxSize(INLINE.oneCaller);
module.optimize();
writeFileSync(join(out, "core.wasm"), Buffer.concat([module.emitBinary(), tables(isa.patches)]));

/** The packed instruction table as a custom section, which the host copies into every machine (src/machine/core.ts). */
function tables(patches) {
  const parts = [Buffer.from([10]), Buffer.from("isa.tables")];
  for (const { at, bytes } of patches) {
    const head = Buffer.alloc(8);
    head.writeUInt32LE(at, 0);
    head.writeUInt32LE(bytes.length, 4);
    parts.push(head, bytes);
  }
  const body = Buffer.concat(parts);
  const size = [];
  for (let n = body.length; ; n >>>= 7) {
    if (n < 128) {
      size.push(n);
      break;
    }
    size.push((n & 127) | 128);
  }
  return Buffer.concat([Buffer.from([0, ...size]), body]);
}
