// Compiles test/user/programs, runs them natively, and stores builds and results for the tests: node
// scripts/exec-programs.mjs. Needs Linux on x86-64 and gcc.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { runnerImport } from "vite";

const top = join(dirname(fileURLToPath(import.meta.url)), "..");
const { module: cases } = await runnerImport(join(top, "test/user/cases.ts"), {
  root: top,
  configFile: false,
});
const built = cases.compileAll();
if (built === undefined) {
  process.stderr.write(
    "error: exec-programs: nothing was compiled, expected gcc on Linux x86-64\n",
  );
  process.exit(2);
}
const seen = {};
for (const c of cases.CASES) seen[cases.nameOf(c)] = cases.native(built.folder, c);
writeFileSync(join(cases.FOLDER, "native.json"), `${JSON.stringify(seen, null, 2)}\n`);
for (const p of cases.PROGRAMS) {
  execFileSync("strip", ["-g", join(built.folder, p)]);
  const packed = gzipSync(readFileSync(join(built.folder, p)), { level: 9 }).toString("base64");
  const lines = packed.match(/.{1,100}/g).join("\n");
  writeFileSync(join(cases.FOLDER, `${p}.gz.b64`), `${lines}\n`);
}
built.close();
