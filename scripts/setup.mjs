// Makes a checkout ready to run: installs the dependencies when package-lock.json is not the one that
// was installed, and builds when a source is newer than dist/. Quiet when there is nothing to do.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const top = join(dirname(fileURLToPath(import.meta.url)), "..");
const SOURCES = ["assembly", "src", "scripts", "package-lock.json", "tsconfig.json", "tsconfig.build.json"];

function* files(path) {
  let entries;
  try {
    entries = readdirSync(path, { withFileTypes: true });
  } catch {
    yield path;
    return;
  }
  for (const e of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) yield* files(join(path, e.name));
}

function hash(paths) {
  const h = createHash("sha256");
  for (const p of paths) for (const f of files(join(top, p))) h.update(f.slice(top.length)).update(readFileSync(f));
  return h.digest("hex");
}

function current(stamp, value) {
  return existsSync(stamp) && readFileSync(stamp, "utf8") === value;
}

function fail(what, r) {
  process.stderr.write(`error: set-up: ${what} failed\n${r.stdout ?? ""}${r.stderr ?? ""}`);
  process.exit(2);
}

export async function setup() {
  const lock = hash(["package-lock.json"]);
  const installed = join(top, "node_modules", ".quiesce-lock");
  if (!current(installed, lock)) {
    process.stderr.write("set-up: installing dependencies (npm ci)\n");
    const r = spawnSync("npm", ["ci", "--no-audit", "--no-fund"], {
      cwd: top,
      encoding: "utf8",
      shell: process.platform === "win32",
    });
    if (r.status !== 0) fail("npm ci", r);
    writeFileSync(installed, lock);
  }
  const sources = hash(SOURCES);
  const built = join(top, "dist", ".quiesce-build");
  if (!current(built, sources)) {
    process.stderr.write("set-up: building dist/\n");
    const { build } = await import("./build.mjs");
    build();
    mkdirSync(join(top, "dist"), { recursive: true });
    writeFileSync(built, sources);
  }
}

await setup();
