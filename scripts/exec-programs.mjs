// Compiles test/user/programs and test/user/c, runs them natively, and stores builds and results for the tests: node
// scripts/exec-programs.mjs. Needs Linux on x86-64 and gcc.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { runnerImport } from "vite";

const top = join(dirname(fileURLToPath(import.meta.url)), "..");
const load = (file) => runnerImport(join(top, file), { root: top, configFile: false });
const { module: cases } = await load("test/user/cases.ts");
const { module: c } = await load("test/user/c-programs.ts");

function store(file, to) {
  execFileSync("strip", ["-g", file]);
  const packed = gzipSync(readFileSync(file), { level: 9 }).toString("base64");
  writeFileSync(to, `${packed.match(/.{1,100}/g).join("\n")}\n`);
}

const built = cases.compileAll();
const recipes = c.freestanding(c.STORED_LEVELS);
const { builds, folder, close } = await c.compile(recipes);
if (built === undefined || builds.size !== recipes.length) {
  process.stderr.write(
    "error: exec-programs: something was not compiled, expected gcc on Linux x86-64\n",
  );
  process.exit(2);
}
const seen = {};
for (const k of cases.CASES) seen[cases.nameOf(k)] = cases.native(built.folder, k);
writeFileSync(join(cases.FOLDER, "native.json"), `${JSON.stringify(seen, null, 2)}\n`);
for (const p of cases.PROGRAMS) store(join(built.folder, p), join(cases.FOLDER, `${p}.gz.b64`));
const did = {};
for (const { name, file } of [...builds.values()].sort((a, b) => (a.name < b.name ? -1 : 1))) {
  did[name] = cases.native(folder, { program: name, args: [] });
  store(file, join(c.C_FOLDER, `${name}.gz.b64`));
}
writeFileSync(join(c.C_FOLDER, "native.json"), `${JSON.stringify(did, null, 2)}\n`);
built.close();
close();
