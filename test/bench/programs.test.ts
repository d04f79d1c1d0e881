// The benchmark's programs and the facts that their runs are held against: small sizes in this process, by exec.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import {
  argumentsOf,
  checkOutcome,
  COUNTED,
  keyOf,
  MIX,
  PROGRAMS,
  RECORDED,
} from "../../src/bench/programs.ts";
import { runOwn } from "../../src/bench/sample.ts";
import { storedElf, storedFacts } from "../../src/bench/world.ts";
import { readProgram, UserProcess } from "../../src/user/index.ts";

const TOP = join(import.meta.dirname, "../..");
const CORE = new WebAssembly.Module(readFileSync(join(TOP, "dist/core.wasm")));
const FACTS = storedFacts(TOP);
const FOLDER = mkdtempSync(join(tmpdir(), "quiesce-"));
afterAll(() => rmSync(FOLDER, { recursive: true }));

const gcc = process.platform === "linux" && process.arch === "x64";

describe("the benchmark programs", () => {
  it.each(COUNTED.map((j) => [keyOf(j), j] as const))(
    "'%s' prints what it prints natively, in as many instructions as a native stepper counted",
    (key, job) => {
      expect(FACTS[key]?.counted).toBe(true);
      const r = runOwn(CORE, storedElf(TOP, job.program), job, () => 0);
      expect(r).toEqual({ out: FACTS[key]?.out, insns: FACTS[key]?.insns, seconds: 0 });
    },
  );

  it("have facts for every run that the benchmark makes, and no others", () => {
    expect(Object.keys(FACTS)).toEqual(RECORDED.map(keyOf));
  });

  it("are the recorded results of their sources, where gcc is installed", (t) => {
    if (!gcc || spawnSync("gcc", ["--version"]).status !== 0) t.skip("no gcc on Linux x86-64");
    for (const p of PROGRAMS) {
      const elf = join(FOLDER, p);
      const flags = ["-O2", "-mgeneral-regs-only", "-static", "-nostdlib", "-fno-stack-protector"];
      const r = spawnSync("gcc", [...flags, "-o", elf, join(TOP, "src/bench/programs", `${p}.c`)]);
      expect(r.stderr.toString()).toBe("");
      for (const job of COUNTED.filter((j) => j.program === p)) {
        const native = spawnSync(elf, [...argumentsOf(job)]);
        expect(native.stdout.toString()).toBe(FACTS[keyOf(job)]?.out);
      }
    }
  });

  it("'wide' has 7,000 instructions that are executed in most rounds", () => {
    const rounds = 8;
    const program = readProgram(storedElf(TOP, "wide"), "wide");
    const p = new UserProcess({
      core: CORE,
      ramBytes: 32 << 20,
      program,
      argv: ["wide", String(rounds)],
      env: [],
      exe: "/wide",
      seed: 1,
      io: { write: (_, b) => b.length, read: () => new Uint8Array(0) },
    });
    const seen = new Map<bigint, number>();
    for (let n = 1; ; n++) {
      const rip = p.machine.reg(0, "rip");
      seen.set(rip, (seen.get(rip) ?? 0) + 1);
      if (p.run(n).end.kind !== "budget") break;
    }
    expect(seen.size).toBeGreaterThan(7000);
    expect([...seen.values()].filter((n) => n >= rounds / 2).length).toBeGreaterThan(6900);
  });

  it("that print or count otherwise than recorded are an error that says how", () => {
    const [job] = COUNTED.filter((j) => j.program === MIX[0]);
    if (job === undefined) throw new Error("no job");
    const { out, insns } = FACTS[keyOf(job)] ?? { out: "", insns: 0 };
    expect(() => checkOutcome(FACTS, job, "exec", { out, insns })).not.toThrow();
    expect(() => checkOutcome(FACTS, job, "the CPU", { out })).not.toThrow();
    expect(() => checkOutcome(FACTS, job, "exec", { out: "fib 1\n", insns })).toThrow(
      'bench: fib 1 18 on exec: printed "fib 1\\n", expected "fib 2584\\n"',
    );
    expect(() => checkOutcome(FACTS, job, "exec", { out, insns: insns + 1 })).toThrow(
      `bench: fib 1 18 on exec: took ${insns + 1} instructions, expected ${insns}`,
    );
    expect(() => checkOutcome({}, job, "exec", { out, insns })).toThrow(/no facts are recorded/);
  });
});
