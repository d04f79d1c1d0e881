// The door's promises to a user: one line for each mistake, exit codes, JSON that parses, files written whole or not.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import * as v from "valibot";
import { run } from "../../src/cli/main.ts";
import { Disasm, Explore, List, Run, UnwindScore } from "./schemas.ts";

const FOLDER = mkdtempSync(join(tmpdir(), "quiesce-"));
afterAll(() => rmSync(FOLDER, { recursive: true }));

/** Runs a command with its words captured. */
async function quiesce(...words: readonly string[]) {
  let out = "";
  let err = "";
  const stdout = { write: (text: string) => (out += text) };
  const stderr = { write: (text: string) => (err += text) };
  const code = await run(words, { stdout, stderr });
  return { code, out, err };
}

const MISTAKES: readonly (readonly [string, string])[] = [
  ["lst", "error: command: there is no 'lst', did you mean 'list'?\n"],
  ["list --jsn", "error: list: option: there is no '--jsn', did you mean '--json'?\n"],
  ["list x", "error: list: 'x' is one word too many, expected as --help says\n"],
  ["list -o", "error: list: -o has no value, expected one after it\n"],
  ["list --json --json", "error: list: --json is given twice, expected once\n"],
  ["disasm", "error: disasm: SCENARIO is missing, expected it\n"],
  ["disasm default", "error: disasm: WHERE is missing, expected it\n"],
  ["disasm defualt f", "error: scenario: there is no 'defualt', did you mean 'default'?\n"],
  [
    "disasm ./nowhere f",
    "error: scenario: ./nowhere: no scenario.json there, expected a scenario's folder\n",
  ],
  [
    "disasm default xfer_sumbit",
    "error: symbol: there is no 'xfer_sumbit', did you mean 'xfer_submit'?\n",
  ],
  [
    "run default --mechanism kpach",
    "error: mechanism: there is no 'kpach', did you mean 'kpatch'?\n",
  ],
  ["run default --seed x", "error: seed: 'x' is not a whole number from 0 to 2^53-1\n"],
  ["run default --vcpus 9", "error: vcpus: '9' is not a whole number from 1 to 8\n"],
  [
    "run default --tasks 17",
    "error: tasks: 17 slots are too few for default on 2 vCPUs, expected at least 18\n",
  ],
  ["run default --at -1", "error: at: '-1' is not a whole number from 0 to 1000000000\n"],
  ["explore default", "error: explore: --mechanism is missing, expected it\n"],
  ["explore default --mechanism all", "error: mechanism: 'all' is not one, expected one name\n"],
  [
    "explore default --mechanism simple --shard 2/2",
    "error: shard: '2/2' is not I/N with 0 <= I < N\n",
  ],
  ["bench cor", "error: bench: there is no 'cor', did you mean 'core'?\n"],
  ["bench core --rounds 0", "error: rounds: '0' is not a whole number from 1 to 100\n"],
  [
    "bench core --tasks 64",
    "error: bench: --tasks is for latency, expected `bench latency --tasks N,..`\n",
  ],
  ["bench latency --tasks 64,x", "error: tasks: 'x' is not a whole number from 16 to 100000\n"],
  ["run two-tasks", "error: two-tasks: no patch, expected one\n"],
  ["run default --patch x.S", "error: x.S: no such file, expected a file that can be read\n"],
  ["disasm default 0x10", "error: address: 0x10 is in no function, expected one of the image\n"],
];

describe("the command line", () => {
  it.each(MISTAKES)("answers `%s` with one line and exit 2", async (words, line) => {
    const r = await quiesce(...words.split(" "));
    expect(r).toEqual({ code: 2, out: "", err: line });
  });

  it("has help for itself and for every command", async () => {
    const r = await quiesce("--help");
    expect(r.code).toBe(0);
    const names = [...r.out.matchAll(/^ {2}(\w+) {2}/gm)].map((m) => m[1] ?? "");
    expect(names).toContain("list");
    for (const name of names) {
      const one = await quiesce(name, "--help");
      expect(one.code).toBe(0);
      expect(one.out).toContain(`quiesce ${name}`);
    }
  });

  it("writes a result file whole and leaves no other file", async () => {
    const file = join(FOLDER, "names.json");
    writeFileSync(file, "old");
    const r = await quiesce("list", "--json", "-o", file);
    expect(r).toEqual({ code: 0, out: "", err: "" });
    expect(readFileSync(file, "utf8")).toBe((await quiesce("list", "--json")).out);
    expect(readdirSync(FOLDER)).toEqual(["names.json"]);
  });

  it("names the reason when a result file cannot be written", async () => {
    const r = await quiesce("list", "-o", join(FOLDER, "no", "file"));
    expect(r.code).toBe(2);
    expect(r.err).toMatch(/^error: .*its folder does not exist, expected one to write in\n$/);
  });
});

describe("disasm", () => {
  it("shows a patched function in the kernel and in the patch, with its fentry site", async () => {
    const r = await quiesce("disasm", "default", "xfer_submit");
    expect(r.code).toBe(0);
    expect(r.out).toMatch(/ffffffff8[0-9a-f]+ <xfer_submit\+0x0> +e8 .*# fentry site/);
    expect(r.out).toMatch(/ffffffffa[0-9a-f]+ <xfer_submit\+0x0>/);
  });

  it("marks the instruction that an address lies in", async () => {
    const all = await quiesce("disasm", "default", "xfer_submit");
    const va = /([0-9a-f]{16}) <xfer_submit\+0x5>/.exec(all.out)?.[1] ?? "";
    const r = await quiesce("disasm", "default", `0x${va}`, "--intel");
    expect(r.out).toMatch(new RegExp(`^=> ${va} <xfer_submit\\+0x5>`, "m"));
  });
});

describe("run and start", () => {
  it("exits 1 where a violation was found, and tells the violation", async () => {
    const r = await quiesce("run", "default", "--mechanism", "naive");
    expect(r).toMatchObject({ code: 1, err: "" });
    expect(r.out).toContain("truth ");
  });

  it("exits 0 when everything is as the scenario claims, the broken control included", async () => {
    const r = await quiesce("start");
    expect(r).toMatchObject({ code: 0, err: "" });
    expect(r.out).toMatch(/naive +│ applied +│ violated +│ yes/);
    expect(r.out).toMatch(/^all as claimed$/m);
  });

  it("prints what the README shows", async () => {
    const readme = readFileSync(join(import.meta.dirname, "../../README.md"), "utf8");
    const [, shown = ""] = /\$ npm start\n([^`]*)```/.exec(readme) ?? [];
    const lines = new Set((await quiesce("start")).out.split("\n"));
    expect(shown.split("\n").filter((line) => !lines.has(line))).toEqual([]);
    expect(shown).toContain("all as claimed");
  });

  it("takes a scenario's folder by its path", async () => {
    const folder = join(import.meta.dirname, "../../kernels/default");
    const r = await quiesce("run", folder, "--mechanism", "naive", "--json");
    expect(r.out).toBe((await quiesce("run", "default", "--mechanism", "naive", "--json")).out);
  });
});

/** A patch of one function with a body of its own. */
function patchFile(name: string, fn: string, body: string): string {
  const path = join(FOLDER, name);
  writeFileSync(
    path,
    `\t.include "kernel.inc"\n\t.text\nC_FUNC_START ${fn}\n${body}\n\tFRAME_END\n\tret\nSYM_FUNC_END ${fn}\n`,
  );
  return path;
}

describe("a patch of the user's own", () => {
  const BAD: readonly (readonly [string, string, string, string])[] = [
    ["does not assemble", "xfer_queue", "\tmovq\t%foo, %rax", ":4: unknown register %foo"],
    [
      "calls what nobody defines",
      "xfer_queue",
      "\tcall\tgone",
      ":4: .text+0xa: undefined symbol gone",
    ],
    ["replaces an unknown function", "xfer_gone", "\tnop", "xfer_gone is no function of default"],
    ["does not fit its room", "xfer_queue", "\t.skip\t3000000", "there is room for 1048576"],
  ];

  it.each(BAD)("that %s is one line and exit 2", async (what, fn, body, message) => {
    const file = patchFile(`${what.replaceAll(" ", "-")}.S`, fn, body);
    const r = await quiesce("run", "default", "--mechanism", "simple", "--patch", file);
    expect(r).toMatchObject({ code: 2, out: "" });
    expect(r.err).toContain(file);
    expect(r.err).toContain(message);
    expect(r.err.split("\n")).toHaveLength(2);
  });

  it("that never comes back ends the guest at its budget, with exit 3", async () => {
    const file = patchFile("endless.S", "xfer_queue", "1:\tjmp\t1b");
    const words = ["run", "default", "--mechanism", "simple", "--patch", file, "--json"];
    const r = await quiesce(...words);
    expect(r).toMatchObject({ code: 3, err: "" });
    expect(JSON.parse(r.out)).toMatchObject([{ violations: [{ check: "progress" }] }]);
  });

  it("that is sound is applied like the scenario's own", async () => {
    const file = patchFile("sound.S", "xfer_flushd_unused", "");
    const text = readFileSync(join(import.meta.dirname, "../../kernels/default/patch.S"), "utf8");
    writeFileSync(file, text);
    const r = await quiesce("run", "default", "--mechanism", "kpatch", "--patch", file, "--json");
    expect(r.code).toBe(0);
    expect(JSON.parse(r.out)).toMatchObject([{ result: "applied", verdict: "consistent" }]);
    // Its module is called as the file, wherever that lies.
    const said = await quiesce("run", "default", "--mechanism", "klp", "--patch", file, "--log");
    expect(said.out).toMatch(/\] livepatch: enabling patch 'sound'\n/);
    const tree = await quiesce("sysfs", "default", "--patch", file, "sound/enabled");
    expect(tree).toMatchObject({ code: 0, out: "1\n" });
  });
});

describe("run's other outputs", () => {
  it("prints the log in livepatch's words and order, each line with its instruction", async () => {
    const r = await quiesce("run", "default", "--mechanism", "klp", "--log", "--seed", "3");
    expect(r.code).toBe(0);
    const log = r.out
      .slice(r.out.indexOf("\nklp\n") + 5)
      .trimEnd()
      .split("\n");
    const at = log.map((l) => Number(/^\[ *([0-9]+)\] /.exec(l)?.[1]));
    expect(at).toEqual(at.toSorted((a, b) => a - b));
    const said = log
      .map((l) => l.replace(/^\[ *[0-9]+\] /, ""))
      .filter((l) => !l.includes("klp_try_switch_task"));
    expect(said).toEqual([
      "default_patch: loading out-of-tree module taints kernel.",
      "default_patch: tainting kernel with TAINT_LIVEPATCH",
      "livepatch: enabling patch 'default_patch'",
      "livepatch: 'default_patch': initializing patching transition",
      "livepatch: 'default_patch': starting patching transition",
      "livepatch: 'default_patch': completing patching transition",
      "livepatch: 'default_patch': patching complete",
    ]);
  });

  it("tells of a task that was never switched why, how often, and where it sleeps", async () => {
    const r = await quiesce("run", "stuck", "--mechanism", "kgraft", "--verbose");
    expect(r.out).toMatch(
      /stuckd \(7\) was not switched\n {4}not [0-9]+ times from [0-9]+ to [0-9]+: has not come to an annotated point\n {6}__schedule\+.*\n(?: {6}.*\n)* {6}stuckd\+/,
    );
  });

  it("has in JSON every try that a task held up, with what the mechanism saw and what was so", async () => {
    // Whether somebody is in the way depends on the schedule: the first seed under which somebody is.
    const words = ["run", "stuck", "--mechanism", "kpatch", "--seed"];
    let run: v.InferOutput<typeof Run>[number] | undefined;
    let seed = 0;
    while (seed < 30 && (run === undefined || run.held.length === 0)) {
      seed++;
      [run] = v.parse(Run, JSON.parse((await quiesce(...words, `${seed}`, "--json")).out));
    }
    expect(run?.held.length).toBeGreaterThan(0);
    const logged = (await quiesce(...words, `${seed}`, "--log")).out;
    for (const [i, h] of run?.held.entries() ?? []) {
      // The log has the first of a try: there the check of the stacks ends.
      if (run?.held[i - 1]?.insn !== h.insn) {
        expect(logged).toContain(`kpatch: ${h.reason}`);
        expect(logged).toContain(`kpatch: PID: ${h.pid} Comm: ${h.task}`);
      }
      // Of a stack that it does not vouch for a walk may have missed some.
      const missed = h.stack.filter((f) => !h.truth.some((t) => t.symbol === f.symbol));
      expect(missed).toEqual([]);
      if (!h.reason.startsWith("unreliable")) expect(h.truth).toHaveLength(h.stack.length);
    }
    expect(run?.switched.some((s) => s.pid === run.held[0]?.pid)).toBe(true);
  });

  it("writes what happened as JSON lines in order", async () => {
    const file = join(FOLDER, "trace.jsonl");
    const r = await quiesce("run", "default", "--mechanism", "simple", "--trace", file, "--json");
    expect(r.code).toBe(0);
    const lines = readFileSync(file, "utf8").trimEnd().split("\n");
    const events = lines.map((l) =>
      v.parse(v.looseObject({ insn: v.number(), event: v.string() }), JSON.parse(l)),
    );
    expect(events[0]?.event).toBe("request");
    expect(events.at(-1)).toMatchObject({ event: "end", result: "applied" });
    expect(events.map((e) => e.insn)).toEqual(events.map((e) => e.insn).toSorted((a, b) => a - b));
    for (const kind of ["syscall", "new", "gather", "leave", "write", "commit"]) {
      expect(events.some((e) => e.event === kind)).toBe(true);
    }
  });

  it("lets kpatch walk by another unwinder, which vouches for nothing", async () => {
    const words = ["run", "default", "--mechanism", "kpatch", "--unwinder", "guess", "--json"];
    const r = await quiesce(...words);
    expect(r.code).toBe(0);
    expect(JSON.parse(r.out)).toMatchObject([{ result: "refused", verdict: "consistent" }]);
  });
});

describe("explore and replay", () => {
  const file = join(FOLDER, "repro");

  it("finds the control broken, and replays its repro to the same instruction", async () => {
    const found = await quiesce(
      "explore",
      "default",
      "--mechanism",
      "naive",
      "--points",
      "1",
      "--repro",
      file,
    );
    expect(found).toMatchObject({ code: 1, err: "" });
    const r = await quiesce("replay", file);
    expect(r).toMatchObject({ code: 1, err: "" });
    expect(r.out).toMatch(/^reproduced: /);
  });

  it("shows every CPU and stack at an instruction of a repro", async () => {
    const r = await quiesce("replay", `${file}@1000`);
    expect(r).toMatchObject({ code: 0, err: "" });
    expect(r.out).toMatch(/^at instruction 1000\n {2}vCPU 0: /);
  });

  it("refuses a repro for other bytes, and one that it cannot read", async () => {
    const text = readFileSync(file, "utf8");
    writeFileSync(file, text.replace(/^image .*/m, "image 00"));
    const other = await quiesce("replay", file);
    expect(other.code).toBe(2);
    expect(other.err).toMatch(/^error: .*: the repro is for another image: 00, found [0-9a-f]+\n$/);
    writeFileSync(file, "hello\n");
    const bad = await quiesce("replay", file);
    expect(bad).toMatchObject({
      code: 2,
      err: `error: ${file}:1: 'hello', expected 'quiesce-repro 1'\n`,
    });
  });

  it("says by exit 3 that the time was over before everything was tried", async () => {
    const r = await quiesce(
      "explore",
      "default",
      "--mechanism",
      "kpatch",
      "--seconds",
      "1",
      "--json",
    );
    expect(r.code).toBe(3);
    expect(JSON.parse(r.out)).toMatchObject({ exhausted: false, violations: 0 });
  });
});

describe("JSON", () => {
  const FORMS = [
    ["list", List],
    ["disasm default xfer_queue", Disasm],
    ["run default", Run],
    ["start", Run],
    ["explore default --mechanism naive --points 2 --deterministic", Explore],
    ["unwind two-tasks --score --insns 500", UnwindScore],
  ] as const;

  it.each(FORMS)(
    "of `%s` has the documented form, the same bytes each time",
    async (words, form) => {
      const r = await quiesce(...words.split(" "), "--json");
      expect(r.err).toBe("");
      const value: unknown = JSON.parse(r.out);
      expect(v.safeParse(form, value).issues).toBeUndefined();
      expect((await quiesce(...words.split(" "), "--json")).out).toBe(r.out);
    },
  );
});
