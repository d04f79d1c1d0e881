// The CPU's side: compiles harness.c into a folder of its own and hands batches of cases to it. It answers undefined
// where there is no x86-64 Linux or no gcc, with the reason.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DATA_SIZE, FPU_WORDS, STACK_SIZE, type Case, type Outcome } from "./layout.ts";

const OUT_WORDS = 74;
const HEAD = 16 + (16 + 1 + 1 + 32 + FPU_WORDS) * 8;

export interface NativeCpu {
  run(cases: readonly Case[], options?: { dump?: boolean }): Outcome[];
  close(): void;
}

export type NativeResult =
  { readonly ok: true; readonly cpu: NativeCpu } | { readonly ok: false; readonly reason: string };

function encode(cases: readonly Case[], dump: boolean): Uint8Array {
  const padded = cases.map((c) => Math.ceil(c.code.length / 8) * 8);
  const bytes = cases.reduce((n, c, i) => n + HEAD + c.hot.length + (padded[i] ?? 0), 8);
  const out = new Uint8Array(bytes);
  const v = new DataView(out.buffer);
  v.setBigUint64(0, BigInt(cases.length), true);
  let at = 8;
  cases.forEach((c, i) => {
    const len = padded[i] ?? 0;
    v.setUint32(at, len, true);
    v.setUint32(at + 4, c.codeOff, true);
    v.setUint32(at + 8, dump ? 1 : 0, true);
    v.setUint32(at + 12, c.hot.length, true);
    c.regs.forEach((r, k) => v.setBigUint64(at + 16 + k * 8, r, true));
    v.setBigUint64(at + 144, c.rflags, true);
    v.setBigUint64(at + 152, c.mxcsr, true);
    c.xmm.forEach((w, k) => v.setBigUint64(at + 160 + k * 8, w, true));
    c.fpu.forEach((w, k) => v.setBigUint64(at + 416 + k * 8, w, true));
    out.set(c.hot, at + HEAD);
    at += HEAD + c.hot.length;
    out.fill(0xcc, at, at + len);
    out.set(c.code, at);
    at += len;
  });
  return out;
}

function decode(bytes: Uint8Array, n: number, dump: boolean): Outcome[] {
  const extra = dump ? DATA_SIZE + STACK_SIZE : 0;
  const size = OUT_WORDS * 8 + extra;
  if (bytes.length !== n * size) {
    throw new Error(`native: ${bytes.length} bytes came back, expected ${n * size}`);
  }
  const v = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const out: Outcome[] = [];
  for (let i = 0; i < n; i++) {
    const word = (k: number): bigint => v.getBigUint64(i * size + k * 8, true);
    out.push({
      regs: Array.from({ length: 16 }, (_, k) => word(k)),
      rip: word(16),
      rflags: word(17),
      vector: Number(word(18)),
      code: word(19),
      cr2: word(20),
      hash: word(21),
      mxcsr: word(22),
      xmm: Array.from({ length: 32 }, (_, k) => word(23 + k)),
      fpu: Array.from({ length: FPU_WORDS }, (_, k) => word(55 + k)),
      ...(dump ? { memory: bytes.slice(i * size + OUT_WORDS * 8, (i + 1) * size) } : {}),
    });
  }
  return out;
}

/** Makes the harness ready. */
export function openNative(): NativeResult {
  if (process.platform !== "linux" || process.arch !== "x64") {
    return {
      ok: false,
      reason: `needs Linux on x86-64, this is ${process.platform} ${process.arch}`,
    };
  }
  const dir = mkdtempSync(join(tmpdir(), "quiesce-native-"));
  const exe = join(dir, "harness");
  const close = (): void => rmSync(dir, { recursive: true, force: true });
  const flags =
    "-O2 -ffreestanding -nostdlib -static-pie -fno-stack-protector -fcf-protection=none -fno-builtin -mgeneral-regs-only";
  const cc = spawnSync(
    "gcc",
    [...flags.split(" "), "-o", exe, join(import.meta.dirname, "harness.c")],
    {
      encoding: "utf8",
    },
  );
  if (cc.status !== 0) {
    close();
    return { ok: false, reason: cc.error ? "no gcc" : `gcc: ${cc.stderr.split("\n")[0]}` };
  }
  const run = (cases: readonly Case[], options?: { dump?: boolean }): Outcome[] => {
    const dump = options?.dump ?? false;
    const r = spawnSync(exe, [], { input: encode(cases, dump), maxBuffer: 1 << 29 });
    if (r.status !== 0) throw new Error(`native: the harness ended with ${r.status ?? r.signal}`);
    return decode(r.stdout, cases.length, dump);
  };
  const probe = spawnSync(exe, [], { input: new Uint8Array(8) });
  if (probe.status !== 0) {
    close();
    return { ok: false, reason: `the harness ends with ${probe.status ?? probe.signal}` };
  }
  return { ok: true, cpu: { run, close } };
}
