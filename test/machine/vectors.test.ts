// The core against recorded outcomes of a real CPU. `node scripts/vectors.mjs` records them.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { describe as describeCase } from "./native/compare.ts";
import { EmulatedCpu } from "./native/emulated.ts";
import { ROWS, notNative } from "./native/rows.ts";
import { compareVector, rowKey, unpackVectors } from "./native/vectors.ts";

const file = unpackVectors(readFileSync(join(import.meta.dirname, "../vectors/x86-64.bin.gz")));

describe("recorded vectors", () => {
  test("every recorded case ends on the core as it did on the CPU", () => {
    const cpu = new EmulatedCpu();
    const wrong: string[] = [];
    for (const v of file.vectors) {
      const diff = compareVector(v, cpu.run(v.case));
      if (diff.length) wrong.push(`${diff.join("; ")}\n  ${describeCase(v.case)}`);
    }
    expect(wrong.slice(0, 5)).toEqual([]);
    expect(file.vectors.length).toBe(7000);
    expect(file.cpu).toMatch(/family \d+/);
  });

  test("cutting a case after every instruction ends in the same state", () => {
    const cpu = new EmulatedCpu();
    for (const v of file.vectors.filter((_, i) => i % 4 === 0)) {
      expect(compareVector(v, cpu.run(v.case, { slice: 1 }))).toEqual([]);
    }
  });

  test("every row that user mode can run is in some vector, and the others say why not", () => {
    const missing = ROWS.filter(
      (r) => notNative(r) === undefined && !file.rows.has(rowKey(r.index)),
    );
    expect(missing.map((r) => rowKey(r.index))).toEqual([]);
    const reasons = ROWS.flatMap((r) => {
      const reason = notNative(r);
      return reason === undefined ? [] : [`${r.form.syntax}: ${reason}`];
    });
    expect(reasons).toEqual([
      "pop FS: would move the thread's own data",
      "pop GS: would move the thread's own data",
      "insb: needs the I/O privilege",
      "insd: needs the I/O privilege",
      "outsb: needs the I/O privilege",
      "outsd: needs the I/O privilege",
      "int1: goes by the host's debug state and descriptor table",
      "retf: goes by the host's debug state and descriptor table",
      "retf Iw: goes by the host's debug state and descriptor table",
      "call Mp: goes by the host's debug state and descriptor table",
      "jmp Mp: goes by the host's debug state and descriptor table",
      "syscall: would enter the host's kernel",
      "vmcall: the hypercall of this machine; #UD outside of a guest",
      "serialize: not on every CPU",
      "rdfsbase Ry: the host's thread pointer, where CR4 lets it",
      "rdgsbase Ry: the host's thread pointer, where CR4 lets it",
      "wrfsbase Ry: the host's thread pointer, where CR4 lets it",
      "wrgsbase Ry: the host's thread pointer, where CR4 lets it",
      "rdpid Ry: shows the host's registers",
      "rdtscp: its answer is this machine's own",
      "sgdt M: shows the host's tables, or #GP under UMIP",
      "sidt M: shows the host's tables, or #GP under UMIP",
      "sldt Ev: shows the host's tables, or #GP under UMIP",
      "str Ev: shows the host's tables, or #GP under UMIP",
      "smsw Ev: shows the host's CR0, or #GP under UMIP",
      "lfs Gv, M: would move the thread's own data",
      "lgs Gv, M: would move the thread's own data",
      "rdtsc: its answer is this machine's own",
      "cpuid: its answer is this machine's own",
      "rsqrtps Vps, Wps: an approximation, each CPU its own",
      "rsqrtss Vss, Wss: an approximation, each CPU its own",
      "rcpps Vps, Wps: an approximation, each CPU its own",
      "rcpss Vss, Wss: an approximation, each CPU its own",
      "fxsave M: shows the host's x87 state and MXCSR mask",
      "f2xm1: each CPU its own last bits",
      "fyl2x: each CPU its own last bits",
      "fyl2xp1: each CPU its own last bits",
      "fptan: each CPU its own last bits",
      "fpatan: each CPU its own last bits",
      "fsin: each CPU its own last bits",
      "fcos: each CPU its own last bits",
      "fsincos: each CPU its own last bits",
    ]);
  });
});
