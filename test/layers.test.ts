// The house rules that a text search can hold: which folder may import which, and who may touch the world.
// Imports are found by a regular expression, which is enough for code that prettier has formatted.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const TOP = join(dirname(fileURLToPath(import.meta.url)), "..");

/** What each folder of src/ may import, besides itself. "abi" is assembly/abi.ts. */
const MAY: Readonly<Record<string, readonly string[]>> = {
  isa: ["abi"],
  asm: ["isa"],
  link: ["asm"],
  scenario: ["asm", "link"],
  machine: ["isa", "link", "abi"],
  kernel: ["link"],
  unwind: ["link", "kernel"],
  ftrace: ["link", "machine", "kernel"],
  user: ["link", "machine"],
  patch: ["link", "machine", "kernel", "unwind", "ftrace"],
  check: ["link", "machine", "kernel", "unwind", "patch", "scenario"],
  explore: ["machine", "patch", "check", "scenario"],
  report: ["check", "explore"],
};
/** They may import anything, and nobody imports them; but the command is how one gets to bench. */
const DOORS = ["bench", "cli", "gdb", "web"];
const isOpen = (from: string, to: string): boolean =>
  !DOORS.includes(to) || (from === "cli" && to === "bench");
/** Names of the world outside: only doors may say them. */
const WORLD =
  /from "node:(?!crypto"|assert")|(?<![./])\bprocess\.(?!ts")|\bDate\.now\b|\bnew Date\b|\bMath\.random\b|\bperformance\.now\b|\bconsole\./;

function tracked(): readonly string[] {
  const out = execFileSync(
    "git",
    ["ls-files", "--cached", "--others", "--exclude-standard", "-z"],
    {
      cwd: TOP,
      encoding: "utf8",
    },
  );
  return out.split("\0").filter((f) => f !== "");
}

function read(file: string): string {
  return readFileSync(join(TOP, file), "utf8");
}

function inRepository(): boolean {
  try {
    tracked();
    return true;
  } catch {
    return false;
  }
}

/** The relative imports of a file, as paths from the top. */
function importsOf(file: string): readonly string[] {
  const text = read(file);
  return [...text.matchAll(/\b(?:from|import)\s*\(?\s*"(\.[^"]*\.ts)"/g)].map((m) =>
    posix.normalize(posix.join(posix.dirname(file), m[1] ?? "")),
  );
}

/** The folder of src/ that a path lies in; "abi"; or "." for src/index.ts and what lies outside. */
function layerOf(path: string): string {
  if (path.startsWith("assembly/abi")) return "abi";
  return /^src\/([^/]+)\//.exec(path)?.[1] ?? ".";
}

describe.skipIf(!inRepository())("the house", () => {
  const files = tracked();
  const src = files.filter((f) => /^src\/.*\.ts$/.test(f));

  it("has no import that points up", () => {
    const wrong: string[] = [];
    for (const file of src) {
      const layer = layerOf(file);
      if (layer === ".") continue;
      for (const target of importsOf(file)) {
        const to = layerOf(target);
        if (to === layer) continue;
        const may = DOORS.includes(layer) ? isOpen(layer, to) : MAY[layer]?.includes(to);
        if (may !== true) wrong.push(`${file} imports ${target}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it("names every folder of src in the table", () => {
    const folders = new Set(src.map(layerOf).filter((l) => l !== "."));
    expect([...folders].filter((l) => !(l in MAY) && !DOORS.includes(l))).toEqual([]);
  });

  it("imports a sibling folder by its door", () => {
    const wrong: string[] = [];
    for (const file of src) {
      for (const target of importsOf(file)) {
        const to = layerOf(target);
        if (to === layerOf(file) || to === "abi" || to === ".") continue;
        if (target !== `src/${to}/index.ts`) wrong.push(`${file} imports ${target}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it("touches files, clocks, randomness and the process only in doors", () => {
    const wrong: string[] = [];
    for (const file of src) {
      if (DOORS.includes(layerOf(file))) continue;
      const code = read(file).replace(/\/\*[^]*?\*\/|\/\/.*/g, "");
      const found = WORLD.exec(code);
      if (found) wrong.push(`${file}: ${found[0]}`);
    }
    expect(wrong).toEqual([]);
  });

  it("leaves no unfinished mark and no folder of somebody's machine in a tracked file", () => {
    const unfinished = new RegExp(
      `\\b(?:${["TO", "FIX"].map((s) => `${s}${s === "TO" ? "DO" : "ME"}`).join("|")})\\b`,
    );
    const home = new RegExp(
      `(?<![\\w.])/(?:${["home", "work", "root", "Users"].join("|")})/[\\w.]`,
    );
    const wrong: string[] = [];
    for (const file of files) {
      if (/^(?:package-lock\.json|LICENSE)$|\.b64$|\.png$/.test(file)) continue;
      const text = read(file);
      for (const rule of [unfinished, home]) {
        const found = rule.exec(text);
        if (found) wrong.push(`${file}: ${found[0]}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it("says at the head of every source file what it is", () => {
    const code = files.filter((f) => /^(?:src|assembly|test)\/.*\.ts$/.test(f));
    expect(code.filter((f) => !/^(?:\/\/|\/\*)/.test(read(f)))).toEqual([]);
  });
});
