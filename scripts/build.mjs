// Builds dist/: the host (TypeScript to JavaScript) and the core (AssemblyScript to wasm). Everything is made in a folder
// beside it and put in place at the end, so that a failed or interrupted build leaves the old one.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const top = join(dirname(fileURLToPath(import.meta.url)), "..");

/** What the core is made from, besides the dispatch that the instruction table gives. */
const CORE_SOURCES = [
  "assembly",
  "src/isa",
  "scripts/asc.mjs",
  "asconfig.json",
  "package-lock.json",
];

/** A step of set-up or build went wrong; the message is one line. */
class SetupError extends Error {
  name = "SetupError";
}

/** Every file below `path`, in a fixed order. */
function* files(path) {
  let entries;
  try {
    entries = readdirSync(path, { withFileTypes: true });
  } catch {
    yield path;
    return;
  }
  for (const e of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    yield* files(join(path, e.name));
  }
}

/** One hash of the names and contents of files and folders of this checkout. */
export function hashOf(paths) {
  const h = createHash("sha256");
  for (const p of paths) {
    for (const f of files(join(top, p))) h.update(f.slice(top.length)).update(readFileSync(f));
  }
  return h.digest("hex");
}

/** Removes a folder as well as that goes: a step of an interrupted build may still be writing into it. */
function discard(path) {
  try {
    rmSync(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  } catch {
    // The next build comes by here again.
  }
}

function step(what, args) {
  const r = spawnSync(process.execPath, args, { cwd: top, encoding: "utf8" });
  if (r.status === 0) return;
  const said = `${r.stdout ?? ""}${r.stderr ?? ""}`.trim();
  if (process.env["QUIESCE_DEBUG"] === "1") process.stderr.write(`${said}\n`);
  const first = said.split("\n").find((line) => /error/i.test(line)) ?? said.split("\n")[0] ?? "";
  throw new SetupError(
    `build: ${what}: ${first.trim() || `ended with ${r.signal ?? r.status}`}, expected no error`,
  );
}

/** Builds dist/; `stamp` is stored in it as the sign of a complete build. */
export function build(stamp) {
  const dist = join(top, "dist");
  const next = join(top, "build", `dist-${process.pid}`);
  const old = join(top, "build", `old-${process.pid}`);
  // The caller holds the lock, so whatever an interrupted build left is nobody's.
  for (const f of existsSync(join(top, "build")) ? readdirSync(join(top, "build")) : []) {
    if (/^(?:dist|old)-/.test(f)) discard(join(top, "build", f));
  }
  mkdirSync(next, { recursive: true });
  try {
    const tsc = "node_modules/typescript/bin/tsc";
    step("tsc", [tsc, "-p", "tsconfig.build.json", "--outDir", next]);
    const core = hashOf(CORE_SOURCES);
    const had = join(dist, ".core");
    if (
      existsSync(had) &&
      readFileSync(had, "utf8") === core &&
      existsSync(join(dist, "core.wasm"))
    ) {
      copyFileSync(join(dist, "core.wasm"), join(next, "core.wasm"));
    } else step("asc", ["scripts/asc.mjs", next]);
    writeFileSync(join(next, ".core"), core);
    writeFileSync(join(next, ".build"), stamp);
    if (existsSync(dist)) renameSync(dist, old);
    renameSync(next, dist);
  } finally {
    discard(next);
    discard(old);
  }
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { setup } = await import("./setup.mjs");
  await setup({ rebuild: true });
}
