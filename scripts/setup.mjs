// Makes a checkout ready to run: installs the dependencies when they are not those of package-lock.json, and builds when
// a source differs from what dist/ was built from. Quiet when there is nothing to do; two at once wait for each other.
// Every start of the command comes through here, so what only a build needs is loaded for it, and files that have the sizes
// and times of when they were found right are not read again.
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";

const top = join(dirname(fileURLToPath(import.meta.url)), "..");
const NODE = [20, 19];
const SOURCES = [
  "assembly",
  "src",
  "scripts/asc.mjs",
  "scripts/build.mjs",
  "asconfig.json",
  "package-lock.json",
  "tsconfig.json",
  "tsconfig.build.json",
];

/**
 * Installs and builds what is missing.
 *
 * rebuild  build even if nothing changed
 */
export async function setup({ rebuild = false } = {}) {
  try {
    checkNode();
    const seen = rebuild ? undefined : look();
    if (seen !== undefined && seen.text === textOf(SEEN)) return;
    const { build, hashOf } = await import("./build.mjs");
    if (installed() && built(hashOf(SOURCES)) && !rebuild) {
      remember(seen);
      return;
    }
    const { spawnSync } = await import("node:child_process");
    await locked(() => {
      if (!installed()) install(spawnSync);
      const sources = hashOf(SOURCES);
      if (built(sources) && !rebuild) return;
      process.stderr.write("set-up: building dist/\n");
      build(sources);
    });
  } catch (e) {
    if (process.env["QUIESCE_DEBUG"] === "1") throw e;
    process.stderr.write(`error: ${reason(e)}\n`);
    process.exit(2);
  }
}

function reason(e) {
  if (e.name === "SetupError") return e.message;
  const { code, path, message } = e;
  if (code === "ENOSPC")
    return "set-up: the disk is full, expected 200 MB for the modules and build";
  if (["EACCES", "EPERM", "EROFS"].includes(code)) {
    return `set-up: cannot write ${path}: ${code}, expected a checkout that can be written`;
  }
  return `set-up: ${String(message).split("\n")[0]}`;
}

const SEEN = join(top, "dist", ".seen");
/** A file that was written so short a time ago can be written again and have the same time. */
const SETTLED_MS = 2000;

function textOf(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/** Names, sizes and times of all that a build is made from, and the newest time. */
function look() {
  const lines = [];
  let newest = 0;
  const visit = (path) => {
    const s = statSync(join(top, path), { throwIfNoEntry: false });
    if (s?.isDirectory()) {
      for (const name of readdirSync(join(top, path)).sort()) visit(`${path}/${name}`);
      return;
    }
    lines.push(`${path} ${s?.size} ${s?.mtimeMs} ${s?.ctimeMs} ${s?.ino}`);
    newest = Math.max(newest, s?.ctimeMs ?? 0);
  };
  [...SOURCES, "node_modules/.package-lock.json", "dist/.build"].forEach(visit);
  return { text: `${process.versions.node}\n${lines.join("\n")}\n`, newest };
}

function remember(seen) {
  if (Date.now() - seen.newest < SETTLED_MS) return;
  try {
    writeFileSync(SEEN, seen.text);
  } catch {
    // A checkout that cannot be written is read every time.
  }
}

class SetupError extends Error {
  name = "SetupError";
}

function checkNode() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major > NODE[0] || (major === NODE[0] && minor >= NODE[1])) return;
  throw new SetupError(
    `set-up: this is Node ${process.versions.node}, expected ${NODE.join(".")} or newer`,
  );
}

function readJson(path) {
  try {
    return JSON.parse(readFileSync(join(top, path), "utf8"));
  } catch {
    return undefined;
  }
}

/** Whether every package that the lock file asks of this platform is there in that version. */
function installed() {
  const lock = readJson("package-lock.json")?.packages;
  const have = readJson("node_modules/.package-lock.json")?.packages;
  if (!lock || !have) return false;
  return Object.entries(lock).every(
    ([path, p]) =>
      path === "" ||
      have[path]?.version === p.version ||
      ((p.optional || p.peer) && have[path] === undefined),
  );
}

function built(sources) {
  const stamp = join(top, "dist", ".build");
  return existsSync(stamp) && readFileSync(stamp, "utf8") === sources;
}

function install(spawnSync) {
  process.stderr.write("set-up: installing dependencies (npm ci)\n");
  const args = ["ci", "--no-audit", "--no-fund", "--include=dev"];
  const npm = process.env["npm_execpath"];
  const options = { cwd: top, encoding: "utf8" };
  const r = npm?.endsWith(".js")
    ? spawnSync(process.execPath, [npm, ...args], options)
    : spawnSync("npm", args, { ...options, shell: process.platform === "win32" });
  if (r.status === 0) return;
  const said = `${r.stdout ?? ""}${r.stderr ?? ""}`;
  if (process.env["QUIESCE_DEBUG"] === "1") process.stderr.write(said);
  const lines = said
    .split("\n")
    .filter((l) => /^npm (?:error|ERR!) /.test(l))
    .map((l) => l.replace(/^npm (?:error|ERR!) /, "").trim());
  const line = lines.find((l) => l.split(" ").length > 3) ?? lines[0];
  const why = r.error?.message ?? line ?? `ended with ${r.signal ?? r.status}`;
  throw new SetupError(`set-up: npm ci: ${why}, expected the npm registry or a filled npm cache`);
}

/** Runs `work` while no other set-up of this checkout runs. */
async function locked(work) {
  const lock = join(top, "build", "setup.lock");
  mkdirSync(join(top, "build"), { recursive: true });
  for (let waited = false; ; waited = true) {
    try {
      writeFileSync(lock, String(process.pid), { flag: "wx" });
      break;
    } catch (e) {
      if (e.code !== "EEXIST") throw e;
    }
    if (abandoned(lock)) rmSync(lock, { force: true });
    else {
      if (!waited) process.stderr.write("set-up: waiting for another set-up of this checkout\n");
      await sleep(200);
    }
  }
  const release = () => rmSync(lock, { force: true });
  const interrupted = () => process.exit(130);
  process.once("exit", release);
  process.once("SIGINT", interrupted);
  try {
    work();
  } finally {
    release();
    process.off("exit", release);
    process.off("SIGINT", interrupted);
  }
}

/** A lock whose owner is gone; one without a pid is being written, unless it is old. */
function abandoned(lock) {
  try {
    const pid = Number(readFileSync(lock, "utf8"));
    if (pid === 0) return Date.now() - statSync(lock).mtimeMs > 5000;
    process.kill(pid, 0);
    return false;
  } catch (e) {
    return e.code === "ESRCH";
  }
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) await setup();
