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
// inline nothing, and those at -O2 and above put every operation into the interpreter's switch. The near forms alone are
// then taken into the hot loop, whatever their size. See docs/decisions.
const INLINE = { always: 40, flexible: 60, oneCaller: 10 };
const HOT = "build/dispatch/hot";

const raw = join(out, "core.raw.wasm");
const args = ["assembly/core.ts", "--debug", "--config", "asconfig.json", "--baseDir", top];
const { error, stderr } = await asc.main([...args, "--outFile", relative(top, raw)]);
if (error) {
  process.stderr.write(`${stderr.toString()}${error.message}\n`);
  process.exit(1);
}
const binary = readFileSync(raw);
rmSync(raw);
const module = optimized();
takeHotFrom(inlined());
binaryen.setDebugInfo(false);
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

/** The module with the limits above. */
function optimized() {
  const module = binaryen.readBinary(binary);
  module.setFeatures(FEATURES.reduce((all, f) => all | binaryen.Features[f], 0));
  binaryen.setOptimizeLevel(2);
  binaryen.setShrinkLevel(0);
  binaryen.setAlwaysInlineMaxSize(INLINE.always);
  binaryen.setFlexibleInlineMaxSize(INLINE.flexible);
  binaryen.setOneCallerInlineMaxSize(INLINE.oneCaller);
  module.optimize();
  return module;
}

/** A second one, in which the hot loop has taken in all that it calls. */
function inlined() {
  const module = optimized();
  const functions = new Map();
  for (let i = 0; i < module.getNumFunctions(); i++) {
    const f = binaryen.getFunctionInfo(module.getFunctionByIndex(i));
    functions.set(f.name, f);
  }
  const called = (name) =>
    [...binaryen.emitText(functions.get(name).body).matchAll(/\(call \$("[^"]*"|[^\s()]+)/g)].map(
      (m) =>
        m[1]
          .replaceAll('"', "")
          .replace(/\\([0-9a-f]{2})/g, (_, hex) => String.fromCharCode(parseInt(hex, 16))),
    );
  const hot = new Set();
  const add = (name) => {
    if (hot.has(name)) return;
    hot.add(name);
    called(name).forEach(add);
  };
  called(HOT).forEach(add);
  for (const name of functions.keys()) {
    if (hot.has(name)) continue;
    binaryen.setPassArgument("no-inline", name);
    module.runPasses(["no-inline"]);
  }
  binaryen.setAlwaysInlineMaxSize(10000);
  module.runPasses(["inlining-optimizing"]);
  return module;
}

/** Replaces the hot loop by that of another module, where it calls nothing. */
function takeHotFrom(other) {
  const { params, results, vars, body } = binaryen.getFunctionInfo(other.getFunction(HOT));
  module.removeFunction(HOT);
  const hot = module.addFunction(HOT, params, results, vars, module.copyExpression(body));
  // How far a step's record is from the first one of its form goes into the addresses of its loads. Nothing lies below 1024.
  binaryen.setLowMemoryUnused(true);
  module.runPassesOnFunction(hot, [
    "precompute-propagate",
    "optimize-instructions",
    "optimize-added-constants-propagate",
    "vacuum",
    // What V8's first compiler needs grows with the locals by the branches.
    "coalesce-locals",
    "reorder-locals",
  ]);
  binaryen.setLowMemoryUnused(false);
  if (!module.validate()) throw new Error("asc: the hot loop does not fit");
}
