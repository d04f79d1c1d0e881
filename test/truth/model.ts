// A second opinion about what is on a stack: it watches single steps from outside, decodes each instruction with
// another decoder, and keeps its own lists of return addresses. It never reads the machine's shadow.
import { createRequire } from "node:module";
import type * as Iced from "iced-x86";
import { declaredFrames, stackAreas } from "../../src/kernel/index.ts";
import { REGISTERS, trueStack, trueStackOf, type TruthKind } from "../../src/machine/index.ts";
import type { Observer, Stepper } from "./stepper.ts";

const iced: typeof Iced = createRequire(import.meta.url)("iced-x86");

interface ModelFrame {
  readonly slot: bigint;
  readonly ret: bigint;
  readonly kind: TruthKind;
}

interface Insn {
  readonly kind: "call" | "getpc" | "ret" | "iret" | "int" | "pop" | "add" | "other";
  readonly next: bigint;
}

const { Mnemonic } = iced;
const KINDS: ReadonlyMap<Iced.Mnemonic, Insn["kind"]> = new Map<Iced.Mnemonic, Insn["kind"]>([
  [Mnemonic.Call, "call"],
  [Mnemonic.Ret, "ret"],
  [Mnemonic.Iretq, "iret"],
  [Mnemonic.Int, "int"],
  [Mnemonic.Int3, "int"],
  [Mnemonic.Pop, "pop"],
  [Mnemonic.Add, "add"],
  [Mnemonic.Lea, "add"],
]);

/** Mistakes that the model can be given, to show that the comparison would see them in the shadow. */
export type Planted =
  | "keeps what ret leaves"
  | "keeps what pop leaves"
  | "keeps what add and lea leave"
  | "counts get-pc"
  | "takes a switch for a rise"
  | "forgets interrupts"
  | "forgets stored frames"
  | "none";

const hex = (v: bigint): string => v.toString(16);
const list = (frames: readonly ModelFrame[]): string =>
  frames.map((f) => `${hex(f.slot)}:${hex(f.ret)}:${f.kind}`).join(" ");

export class Model implements Observer {
  readonly #s: Stepper;
  readonly #planted: Planted;
  readonly #trampolines: ReadonlySet<bigint>;
  readonly #areas;
  readonly #labels;
  readonly #insns = new Map<bigint, Insn>();
  /** Frames of each stack by its low end, outermost first. */
  readonly #stacks = new Map<bigint, ModelFrame[]>();
  readonly #aside = new Map<bigint, ModelFrame[]>();
  readonly #leftAt = new Map<bigint, bigint>();
  readonly #below = new Map<bigint, bigint | undefined>();
  readonly #on: (bigint | undefined)[] = [];
  #rip = 0n;
  #rsp = 0n;
  #user = false;
  #retired = 0;
  #declared: { slot: bigint; ret: bigint; fresh: boolean }[] = [];
  #switched = false;
  compared = 0;

  /** trampolines: addresses that replace return addresses. */
  constructor(s: Stepper, planted: Planted = "none", trampolines: ReadonlySet<bigint> = new Set()) {
    this.#s = s;
    this.#planted = planted;
    this.#trampolines = trampolines;
    this.#areas = stackAreas(s.built.image).map((a) => ({ ...a, size: BigInt(a.size) }));
    this.#labels = new Map(declaredFrames(s.built.image).map((f) => [f.va, f]));
  }

  #stackOf(rsp: bigint): bigint | undefined {
    const va = rsp - 8n;
    const a = this.#areas.find((x) => va >= x.start && va < x.end);
    return a === undefined ? undefined : va - ((va - a.start) % a.size);
  }

  #isPerCpu(lo: bigint): boolean {
    return this.#areas.some((a) => lo >= a.start && lo < a.end && a.kind === "percpu");
  }

  #frames(lo: bigint): ModelFrame[] {
    let f = this.#stacks.get(lo);
    if (f === undefined) this.#stacks.set(lo, (f = []));
    return f;
  }

  #decode(rip: bigint, vcpu: number): Insn {
    let insn = this.#insns.get(rip);
    if (insn !== undefined) return insn;
    const bytes = this.#s.machine.read(rip, 15, vcpu);
    const d = new iced.Decoder(64, bytes, iced.DecoderOptions.None);
    d.ip = rip;
    const i = d.decode();
    const next = rip + BigInt(i.length);
    const isCall = i.mnemonic === Mnemonic.Call;
    const toNext = isCall && i.flowControl === iced.FlowControl.Call && i.nearBranchTarget === next;
    const kind = toNext ? "getpc" : (KINDS.get(i.mnemonic) ?? "other");
    i.free();
    d.free();
    insn = { kind, next };
    this.#insns.set(rip, insn);
    return insn;
  }

  before(vcpu: number): void {
    const s = this.#s;
    this.#rip = s.rip(vcpu);
    this.#rsp = s.rsp(vcpu);
    this.#user = s.isUser(vcpu);
    this.#retired = s.retired();
    this.#switched = false;
    const label = this.#labels.get(this.#rip);
    this.#declared = [];
    if (label !== undefined) {
      const reg = REGISTERS[label.reg] ?? "rax";
      const slot = s.machine.reg(vcpu, reg) + BigInt(label.offset);
      this.#declared.push({ slot, ret: s.machine.read64(slot, vcpu), fresh: label.fresh });
    }
  }

  after(vcpu: number): void {
    const s = this.#s;
    const rip = s.rip(vcpu);
    const rsp = s.rsp(vcpu);
    if (s.retired() === this.#retired) {
      // Waiting in hlt, or an event was delivered.
      if (rip !== this.#rip || rsp !== this.#rsp) this.#event(vcpu, this.#rip, rsp);
    } else {
      if (this.#planted !== "forgets stored frames")
        for (const d of this.#declared) this.#declare(d);
      const insn = this.#decode(this.#rip, vcpu);
      if (insn.kind === "int") this.#event(vcpu, insn.next, rsp);
      else this.#instruction(vcpu, insn, rip, rsp);
    }
    this.#compare(vcpu);
  }

  #trim(lo: bigint, sp: bigint): void {
    const frames = this.#frames(lo);
    for (let f = frames.at(-1); f !== undefined && f.slot < sp; f = frames.at(-1)) frames.pop();
  }

  /** rsp is `rsp` now; `rip` executes next. */
  #goTo(vcpu: number, rip: bigint, rsp: bigint): void {
    const from = this.#on[vcpu];
    const to = this.#stackOf(rsp);
    if (from === to) {
      if (to !== undefined && rsp > this.#rsp) this.#trim(to, rsp);
      return;
    }
    if (from !== undefined) {
      this.#leftAt.set(from, rip);
      if (this.#planted === "takes a switch for a rise" && rsp > this.#rsp) this.#trim(from, rsp);
    }
    this.#switched = from !== undefined && to !== undefined;
    this.#on[vcpu] = to;
    if (to === undefined) return;
    this.#trim(to, rsp);
    if (this.#isPerCpu(to)) this.#below.set(to, from);
  }

  #instruction(vcpu: number, insn: Insn, rip: bigint, rsp: bigint): void {
    const planted = this.#planted;
    if (insn.kind === "call" || (insn.kind === "getpc" && planted === "counts get-pc")) {
      const lo = this.#on[vcpu];
      if (lo !== undefined) this.#frames(lo).push({ slot: rsp, ret: insn.next, kind: "call" });
      return;
    }
    if (planted === "keeps what ret leaves" && insn.kind === "ret") return;
    if (planted === "keeps what pop leaves" && insn.kind === "pop") return;
    if (planted === "keeps what add and lea leave" && insn.kind === "add") return;
    const lo = this.#on[vcpu];
    if (insn.kind === "iret" && lo !== undefined) {
      this.#trim(lo, this.#rsp + 40n);
      const aside = this.#aside.get(lo);
      if (aside !== undefined && this.#frames(lo).length === 0 && this.#stackOf(rsp) === lo) {
        this.#stacks.set(lo, aside);
        this.#aside.delete(lo);
      }
    }
    this.#goTo(vcpu, rip, rsp);
  }

  #event(vcpu: number, ret: bigint, rsp: bigint): void {
    const m = this.#s.machine;
    const cs = m.read64(rsp + 8n, vcpu);
    const slot = m.read64(rsp, vcpu) === ret && (cs === 0x10n || cs === 0x33n) ? rsp : rsp + 8n;
    // An event that begins at the top of the stack that it came on: what is further down waits for its end.
    const again = this.#on[vcpu];
    const isAgain = again !== undefined && slot > this.#rsp && this.#stackOf(slot + 40n) === again;
    if (isAgain) {
      this.#aside.set(again, this.#frames(again));
      this.#stacks.set(again, []);
    }
    this.#goTo(vcpu, ret, slot + 40n);
    const lo = this.#on[vcpu];
    if (lo === undefined || this.#planted === "forgets interrupts") return;
    this.#trim(lo, slot + 40n);
    this.#frames(lo).push({ slot, ret, kind: this.#user ? "user" : "interrupt" });
  }

  #declare(d: { slot: bigint; ret: bigint; fresh: boolean }): void {
    const lo = this.#stackOf(d.slot + 8n);
    if (lo === undefined) return;
    const frames = d.fresh ? [] : this.#frames(lo);
    this.#stacks.set(lo, frames);
    // An interrupt's frame that the entry code moved stays an interrupt's frame.
    const copied = frames.findLast((f) => f.slot > d.slot);
    const isMove =
      (copied?.kind === "interrupt" || copied?.kind === "user") && copied.ret === d.ret;
    const kept = frames.filter((f) => f.slot !== d.slot && !(isMove && f === copied));
    kept.push({ slot: d.slot, ret: d.ret, kind: isMove ? copied.kind : "stored" });
    kept.sort((a, b) => (a.slot > b.slot ? -1 : a.slot < b.slot ? 1 : 0));
    this.#stacks.set(lo, kept);
  }

  /** The frames that the memory still bears out, innermost first, with the stacks below a per-CPU one. */
  expected(lo: bigint): readonly ModelFrame[] {
    const out: ModelFrame[] = [];
    const visited = new Set<bigint>();
    for (let at: bigint | undefined = lo; at !== undefined; at = this.#below.get(at)) {
      if (visited.has(at)) break;
      visited.add(at);
      for (const f of this.#frames(at).toReversed()) {
        const now = this.#s.word(f.slot);
        if (f.kind === "interrupt" || f.kind === "user") out.push({ ...f, ret: now });
        else if (now === f.ret || this.#trampolines.has(now)) out.push(f);
      }
      if (!this.#isPerCpu(at) || out.at(-1)?.kind === "user") break;
    }
    return out;
  }

  #differs(what: string, expected: string, seen: string): never {
    throw new Error(
      `${what} before ${hex(this.#s.rip(0))}, after the instruction at ${hex(this.#rip)} ` +
        `(${this.#retired}):\n model  ${expected}\n shadow ${seen}`,
    );
  }

  #compare(vcpu: number): void {
    const m = this.#s.machine;
    this.compared++;
    const lo = this.#on[vcpu];
    if (!this.#s.isUser(vcpu) && lo !== undefined) {
      const seen = trueStackOf(m, vcpu, this.#trampolines);
      const expected = this.expected(lo);
      if (seen === undefined) return this.#differs("running stack", list(expected), "none");
      if (
        seen.frames.length !== expected.length ||
        seen.frames.some((f, i) => {
          const e = expected[i];
          return e === undefined || f.slot !== e.slot || f.ret !== e.ret || f.kind !== e.kind;
        })
      ) {
        this.#differs("running stack", list(expected), list(seen.frames));
      }
    }
    if (this.#switched) this.#compareOthers();
  }

  #compareOthers(): void {
    const m = this.#s.machine;
    for (const lo of this.#stacks.keys()) {
      const vcpu = this.#on.indexOf(lo);
      if (this.#isPerCpu(lo)) continue;
      const seen = trueStack(m, lo, this.#trampolines);
      const left = this.#leftAt.get(lo);
      const ip = vcpu >= 0 ? this.#s.rip(vcpu) : (left ?? 0n);
      const expected = `${hex(ip)} ${list(this.expected(lo))}`;
      const got = seen === undefined ? "none" : `${hex(seen.ip)} ${list(seen.frames)}`;
      if (expected !== got) this.#differs(`stack ${hex(lo)}`, expected, got);
    }
  }
}
