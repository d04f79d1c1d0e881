// The emulator's side: the same guest in a Machine, its state put into the fields of the vCPU and read back from them.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  CR0,
  CR2,
  CR3,
  CR4,
  CSTAR,
  DIRTY_LIST,
  DR0,
  EFER,
  FPU,
  FPU_REGS,
  FS_BASE,
  GDTR_BASE,
  GS_BASE,
  KERNEL_GS_BASE,
  LSTAR,
  MSR_PAT,
  MXCSR,
  NR_DIRTY,
  RAM,
  RAX,
  RIP,
  SEG_DPL,
  SEG_ES,
  SFMASK,
  STAR,
  TSC_AUX,
  XMM,
} from "../../../assembly/abi.ts";
import { Machine } from "../../../src/machine/index.ts";
import { Memory, outcomeOf, type ExitName, type GuestCase, type Outcome } from "./guest.ts";
import { RAM_BYTES } from "./world.ts";
import { NR_WORDS, W, type State } from "./words.ts";

const BUDGET = 200_000;
const SELECTORS = [W.es, W.cs, W.ss, W.ds, W.fs, W.gs, W.tr, W.ldtr];

/** Words that lie in fields of 8 bytes: word, field. */
const FIELDS: readonly (readonly [number, number])[] = [
  ...Array.from({ length: 16 }, (_, i) => [i, RAX + i * 8] as const),
  [W.rip, RIP],
  [W.cr0, CR0],
  [W.cr2, CR2],
  [W.cr3, CR3],
  [W.cr4, CR4],
  [W.efer, EFER],
  [W.fsBase, FS_BASE],
  [W.gsBase, GS_BASE],
  [W.kernelGsBase, KERNEL_GS_BASE],
  ...Array.from({ length: 6 }, (_, i) => [W.gdtBase + i, GDTR_BASE + i * 8] as const),
  [W.star, STAR],
  [W.lstar, LSTAR],
  [W.cstar, CSTAR],
  [W.sfmask, SFMASK],
  [W.tscAux, TSC_AUX],
  [W.pat, MSR_PAT],
  ...Array.from({ length: 4 }, (_, i) => [W.dr0 + i, DR0 + i * 8] as const),
  [W.dr6, DR0 + 48],
  [W.dr7, DR0 + 56],
  ...Array.from({ length: 32 }, (_, i) => [W.xmm + i, XMM + i * 8] as const),
  [W.x87, FPU],
  [W.fip, FPU + 8],
  [W.fdp, FPU + 16],
];

/** Where word `i` of the x87 stack's registers lies: the machine has them in physical order. */
function registerAt(x87: bigint, i: number): number {
  const top = Number(x87 >> 27n) & 7;
  return FPU_REGS + ((top + (i >> 1)) & 7) * 16 + (i & 1) * 8;
}

/** fcw, fsw, ftw and fop lie in 8 bytes as FXSAVE has them: the abridged ftw is a byte and fop begins behind it. */
const X87_MASK = 0xffff_00ff_ffff_ffffn;

export class EmulatedGuest {
  readonly machine: Machine;
  readonly #memory = new Memory();
  readonly #start: ReturnType<Machine["snapshot"]>;

  constructor() {
    const core = new WebAssembly.Module(
      readFileSync(join(import.meta.dirname, "../../../dist/core.wasm")),
    );
    this.machine = new Machine({ core, ramBytes: RAM_BYTES, nrVcpus: 1, stackAreas: [] });
    this.machine.writePhys(0n, this.#memory.bytes);
    this.#start = this.machine.snapshot();
  }

  #load(s: State): void {
    const m = this.machine;
    const view = m.core.view();
    for (const [word, at] of FIELDS) view.setBigUint64(at, s[word] ?? 0n, true);
    const x87 = s[W.x87] ?? 0n;
    for (let i = 0; i < 16; i++) view.setBigUint64(registerAt(x87, i), s[W.st + i] ?? 0n, true);
    SELECTORS.forEach((w, i) => view.setUint16(SEG_ES + i * 2, Number(s[w]), true));
    view.setUint32(SEG_DPL, 0, true); // by their RPL
    view.setUint32(MXCSR, Number(s[W.mxcsr]), true);
    m.setReg(0, "cpl", (s[W.cs] ?? 0n) & 3n);
    m.setReg(0, "rflags", s[W.rflags] ?? 0n);
  }

  #store(): State {
    const m = this.machine;
    const s = new BigUint64Array(NR_WORDS);
    s[W.rflags] = m.reg(0, "rflags");
    const view = m.core.view();
    for (const [word, at] of FIELDS) s[word] = view.getBigUint64(at, true);
    SELECTORS.forEach((w, i) => (s[w] = BigInt(view.getUint16(SEG_ES + i * 2, true))));
    s[W.mxcsr] = BigInt(view.getUint32(MXCSR, true));
    const x87 = (s[W.x87] ?? 0n) & X87_MASK;
    s[W.x87] = x87;
    for (let i = 0; i < 16; i++) s[W.st + i] = view.getBigUint64(registerAt(x87, i), true);
    return s;
  }

  run(c: GuestCase): Outcome {
    const m = this.machine;
    m.restore(this.#start);
    for (const p of c.patches) m.writePhys(BigInt(p.pa), p.bytes);
    this.#load(c.start);
    this.#memory.patch(c);
    let exit: ExitName = "timeout";
    for (let left = BUDGET; left > 0 && exit === "timeout";) {
      const r = m.run(0, left);
      left -= Math.max(r.used, 1);
      if (r.exit === "halt") exit = "halt";
      else if (r.exit === "shutdown") exit = "shutdown";
      else if (r.exit !== "none") exit = "failed";
    }
    const words = new Uint32Array(m.core.bytes().buffer);
    const dirty = words.subarray(DIRTY_LIST >> 2, (DIRTY_LIST >> 2) + m.core.u32(NR_DIRTY));
    const changes = this.#memory.changes(words, RAM, dirty.toSorted());
    const outcome = outcomeOf({ exit, state: this.#store(), changes }, this.#memory.view);
    this.#memory.unpatch(c);
    return outcome;
  }
}
