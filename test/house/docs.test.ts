// The documents against the code: links lead somewhere, the list of divergences is whole, every dependency is used and
// has its reason. The prose itself is for readers to judge.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";

const TOP = join(import.meta.dirname, "../..");

function* files(folder: string, name: RegExp): Generator<string> {
  for (const e of readdirSync(join(TOP, folder), { withFileTypes: true })) {
    const path = folder === "" ? e.name : `${folder}/${e.name}`;
    if (e.isDirectory()) {
      if (!/^(?:node_modules|dist|build|\.git)$/.test(e.name)) yield* files(path, name);
    } else if (name.test(e.name)) yield path;
  }
}

function read(path: string): string {
  return readFileSync(join(TOP, path), "utf8");
}

const HEAD = `# Where this is not hardware, and not Linux

Every divergence is marked \`DIFFERS:\` in the code, with its reason. This list is made from those marks by a test.

`;

/** The sentences that follow the mark in comments of TypeScript and assembly. */
function differences(text: string): readonly string[] {
  const lines = text.split("\n");
  return lines.flatMap((line, i) => {
    const m = /(?:\/\/|#|\*).*?DIFFERS: ?(.*)/.exec(line);
    if (m === null) return [];
    let said = m[1] ?? "";
    for (let k = i + 1; !/\.(?:\s|$)|\*\//.test(said); k++) {
      const more = /^\s*(?:\/\/|#|\*(?!\/))\s*(\S.*)$/.exec(lines[k] ?? "");
      if (more === null) break;
      said += ` ${more[1] ?? ""}`;
    }
    return [
      said
        .replace(/\*\/.*/, "")
        .split(/\.(?:\s|$)/)[0]
        ?.trim() ?? "",
    ];
  });
}

describe("the documents", () => {
  it("have no link that leads nowhere", () => {
    const dead: string[] = [];
    for (const file of files("", /\.md$/)) {
      for (const m of read(file).matchAll(/\]\(([^)#\s]+)[^)]*\)/g)) {
        const target = m[1] ?? "";
        if (/^[a-z]+:/.test(target)) continue;
        if (!existsSync(join(TOP, dirname(file), target))) dead.push(`${file}: ${target}`);
      }
    }
    expect(dead).toEqual([]);
  });

  it("list in differs.md everything that is marked DIFFERS (npm test -- -u writes it)", async () => {
    const marked = ["assembly", "src", "kernels"]
      .flatMap((f) => [...files(f, /\.(?:ts|S|inc)$/)])
      .sort()
      .flatMap((f) => {
        const notes = differences(read(f));
        return notes.length === 0 ? [] : [`- \`${f}\`: ${notes.join("; ")}.\n`];
      });
    await expect(HEAD + marked.join("")).toMatchFileSnapshot(join(TOP, "docs/differs.md"));
  });

  it("name in ARCHITECTURE.md every folder of src", () => {
    const text = read("docs/ARCHITECTURE.md");
    const folders = readdirSync(join(TOP, "src"), { withFileTypes: true })
      .filter((e) => e.isDirectory() && [...files(`src/${e.name}`, /\.ts$/)].length > 0)
      .map((e) => `src/${e.name}`);
    expect(folders.filter((f) => !text.includes(f))).toEqual([]);
  });

  it("give a reason for every dependency, and every dependency is used", () => {
    const reasons = [...files("docs/decisions", /\.md$/)].map(read).join("\n");
    const json: unknown = JSON.parse(read("package.json"));
    const pick = (key: string): readonly string[] =>
      Object.keys(Object(Object(json)[key] ?? {})).filter((n) => n !== "@types/node");
    const runtime = pick("dependencies");
    expect(
      [...runtime, ...pick("devDependencies")].filter((n) => !reasons.includes(`\`${n}\``)),
    ).toEqual([]);
    const code = [...files("src", /\.ts$/)].map(read).join("\n");
    expect(runtime.filter((n) => !code.includes(`from "${n}`))).toEqual([]);
  });
});
