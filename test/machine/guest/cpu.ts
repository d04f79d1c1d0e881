// The CPU's side: compiles user.c or kvm.c into a folder of its own and hands batches of cases to it. Where there is no
// gcc, no x86-64 Linux or no KVM it says so.
import { spawnSync } from "node:child_process";
import { accessSync, constants, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EXITS, Memory, outcomeOf, type GuestCase, type Outcome } from "./guest.ts";
import { GDT, OBSERVED, RAM_BYTES } from "./world.ts";
import { NR_WORDS, W, type State } from "./words.ts";

const BATCH = 8000;
/** What user.c says besides EXITS. */
const TRAP = 5;
/** The traps that push an error code. */
export const HAS_CODE = new Set([8, 10, 11, 12, 13, 14, 17, 21]);

/** A CPU that runs cases: in a process, or in a guest of KVM. */
export interface RealCpu {
  run(cases: readonly GuestCase[]): Outcome[];
  close(): void;
}

export type CpuResult =
  { readonly ok: true; readonly cpu: RealCpu } | { readonly ok: false; readonly reason: string };

function encode(world: Uint8Array, cases: readonly GuestCase[]): Uint8Array {
  const size = cases.reduce(
    (n, c) => c.patches.reduce((m, p) => m + 8 + p.bytes.length, n + NR_WORDS * 8 + 8),
    16 + world.length + OBSERVED.length * 8,
  );
  const out = new Uint8Array(size);
  const view = new DataView(out.buffer);
  [RAM_BYTES, GDT, OBSERVED.length, cases.length].forEach((v, i) => view.setUint32(i * 4, v, true));
  out.set(world, 16);
  let at = 16 + world.length;
  for (const [pa, bytes] of OBSERVED) {
    view.setUint32(at, pa, true);
    view.setUint32(at + 4, bytes, true);
    at += 8;
  }
  for (const c of cases) {
    out.set(new Uint8Array(c.start.buffer, c.start.byteOffset, NR_WORDS * 8), at);
    at += NR_WORDS * 8;
    view.setUint32(at, (c.system ? 1 : 0) | (c.tables ? 2 : 0), true);
    view.setUint32(at + 4, c.patches.length, true);
    at += 8;
    for (const p of c.patches) {
      view.setUint32(at, p.pa, true);
      view.setUint32(at + 4, p.bytes.length, true);
      out.set(p.bytes, at + 8);
      at += 8 + p.bytes.length;
    }
  }
  return out;
}

/** A trap as user.c says it, with the error code in the word of an MSR. */
function userTrap(
  c: GuestCase,
  state: State,
  vector: number,
  changes: Outcome["changes"],
): Outcome {
  const code = HAS_CODE.has(vector) ? state[W.pat] : undefined;
  state[W.pat] = c.start[W.pat] ?? 0n;
  return { exit: "halt", trap: { vector, code, arrival: undefined }, state, changes };
}

function decode(memory: Memory, cases: readonly GuestCase[], bytes: Uint8Array): Outcome[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = 0;
  return cases.map((c) => {
    const state = new BigUint64Array(NR_WORDS);
    for (let i = 0; i < NR_WORDS; i++) state[i] = view.getBigUint64(at + i * 8, true);
    at += NR_WORDS * 8;
    const end = view.getUint32(at, true);
    const nr = view.getUint32(at + 4, true);
    at += 8;
    const changes = Array.from({ length: nr }, (_, i): readonly [number, bigint] => [
      Number(view.getBigUint64(at + i * 16, true)),
      view.getBigUint64(at + i * 16 + 8, true),
    ]);
    at += nr * 16;
    if ((end & 0xff) === TRAP) return userTrap(c, state, end >> 8, changes);
    memory.patch(c);
    const outcome = outcomeOf({ exit: EXITS[end & 0xff] ?? "failed", state, changes }, memory.view);
    memory.unpatch(c);
    return outcome;
  });
}

const FREESTANDING =
  "-ffreestanding -nostdlib -static-pie -fno-stack-protector -fcf-protection=none -fno-builtin -mgeneral-regs-only";

function open(source: string, options: readonly string[]): CpuResult {
  if (process.platform !== "linux" || process.arch !== "x64") {
    return {
      ok: false,
      reason: `needs Linux on x86-64, this is ${process.platform} ${process.arch}`,
    };
  }
  const dir = mkdtempSync(join(tmpdir(), "quiesce-cpu-"));
  const exe = join(dir, "harness");
  const close = (): void => rmSync(dir, { recursive: true, force: true });
  const args = ["-O2", ...options, "-o", exe, join(import.meta.dirname, source)];
  const cc = spawnSync("gcc", args, { encoding: "utf8" });
  if (cc.status !== 0) {
    close();
    return { ok: false, reason: cc.error ? "no gcc" : `gcc: ${cc.stderr.split("\n")[0]}` };
  }
  const memory = new Memory();
  const run = (cases: readonly GuestCase[]): Outcome[] => {
    const out: Outcome[] = [];
    for (let i = 0; i < cases.length; i += BATCH) {
      const part = cases.slice(i, i + BATCH);
      const input = encode(memory.bytes, part);
      const r = spawnSync(exe, [], { input, maxBuffer: 1 << 29, timeout: 300_000 });
      if (r.status !== 0) {
        throw new Error(`${source} ended with ${r.status ?? r.signal}: ${r.stderr.toString()}`);
      }
      for (const o of decode(memory, part, r.stdout)) out.push(o);
    }
    return out;
  };
  const probe = spawnSync(exe, [], { input: encode(memory.bytes, []) });
  if (probe.status !== 0) {
    close();
    return { ok: false, reason: `${source} ends with ${probe.status ?? probe.signal}` };
  }
  return { ok: true, cpu: { run, close } };
}

/** This machine's CPU in user mode. */
export function openUser(): CpuResult {
  return open("user.c", FREESTANDING.split(" "));
}

/** A guest of KVM, which can do what ring 0 does. */
export function openKvm(): CpuResult {
  try {
    accessSync("/dev/kvm", constants.R_OK | constants.W_OK);
  } catch {
    return { ok: false, reason: "/dev/kvm does not open" };
  }
  return open("kvm.c", []);
}
