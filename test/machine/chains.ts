// Assembly for a chain of near forms (src/isa/chains.ts): instructions with random operands that the decoder makes that chain of, if
// what comes behind them lets it. For chains that leave the place where they stand (returns, calls by a register) there is none.
import type { Random } from "./native/random.ts";

const R64 = ["rax", "rcx", "rdx", "rbx", "rsi", "r8", "r9", "r10", "r11", "r12"];
const R32 = ["eax", "ecx", "edx", "ebx", "esi", "r8d", "r9d", "r10d", "r11d", "r12d"];
const R8 = ["al", "cl", "dl", "bl", "sil", "r8b", "r9b", "r10b", "r11b", "r12b"];
const IMMEDIATES = [0, 1, -1, 5, 0x7f, -128, 0x7fff_ffff, -0x8000_0000];

class Text {
  readonly lines: string[] = [];
  readonly #r: Random;
  readonly #label: string;
  #labels = 0;
  /** Pushes less pops. */
  depth = 0;

  constructor(r: Random, label: string) {
    this.#r = r;
    this.#label = label;
  }

  #register(width: string): string {
    const bits = width.slice(1);
    return `%${this.#r.pick(bits === "64" ? R64 : bits === "32" ? R32 : R8)}`;
  }

  #immediate(width: string): string {
    return `$${this.#r.pick(width.endsWith("8") ? IMMEDIATES.slice(0, 6) : IMMEDIATES)}`;
  }

  #memory(operand: string): string {
    const disp = this.#r.pick([0, 8, -8, 3, 0xff8, 0xffc, 0x1000, 64]);
    if (operand === "Near") return `${disp}(%rdi)`;
    return `${disp}(%rdi,%r14,${this.#r.pick([1, 2, 4, 8])})`;
  }

  #operand(operand: string, width: string): string {
    if (operand === "RegA" || operand === "RegB" || operand === "NearA" || operand === "NearB")
      return this.#register(width);
    return /Constant/.test(operand) ? this.#immediate(width) : this.#memory(operand);
  }

  #behind(): string {
    return `${this.#label}_${this.#labels++}`;
  }

  #jump(how: string): void {
    const to = this.#behind();
    this.lines.push(`${how} ${to}`, `${to}:`);
  }

  /** What a LEA does, said with LEA or otherwise. */
  #linear(width: string): void {
    const [a, b, i] = [this.#register(width), this.#register(width), this.#register("i64")];
    const imm = this.#immediate(width);
    const base = this.#register("i64");
    const all = [
      `lea ${this.#memory("NearX")}, ${a}`,
      `lea ${imm.slice(1)}(${base},${i},${this.#r.pick([1, 2, 4, 8])}), ${a}`,
      `lea ${imm.slice(1)}(${base}), ${a}`,
      `mov ${b}, ${a}`,
      `add ${b}, ${a}`,
      `sub ${b}, ${a}`,
      `add ${imm}, ${a}`,
      `sub ${imm}, ${a}`,
      `shl $${this.#r.below(width === "i64" ? 64 : 32)}, ${a}`,
      `shl $${1 + this.#r.below(14)}, ${a}`,
      `.byte 0xc1, 0xe0, ${this.#r.pick([0x80, 0xe1, 0xff])}`, // shl of eax by a count above 31
    ];
    if (width === "i32") all.push(`mov ${imm}, ${a}`);
    this.lines.push(this.#r.pick(all));
  }

  /** Adds an instruction with a form; false for one that has none here. */
  add(form: string): boolean {
    const [, name = "", list = ""] = /^(\w+)(?:<(.*)>)?$/.exec(form) ?? [];
    const [a = "", b = "", c = "", d = "", e = ""] = list.split(", ");
    const op = a.replace("Quiet", "").toLowerCase();
    const push = (text: string): true => (this.lines.push(text), true);
    const size = { "8": "b", "32": "l", "64": "q" };
    const suffix = (width: string): string => size[width.slice(1) as keyof typeof size];
    switch (name) {
      case "alu":
      case "nearAlu":
        return push(`${op}${suffix(d)} ${this.#operand(c, d)}, ${this.#operand(b, d)}`);
      case "nearAdc":
      case "nearSbb":
        return push(
          `${name.slice(4).toLowerCase()} ${this.#operand(b, c)}, ${this.#operand(a, c)}`,
        );
      case "mov":
      case "nearMov":
        return push(`mov${suffix(c)} ${this.#operand(b, c)}, ${this.#operand(a, c)}`);
      case "movzx":
        return push(`movzbl ${this.#register("u8")}, ${this.#register(c)}`);
      case "movsx":
        return push(`movsbq ${this.#register("u8")}, ${this.#register(c)}`);
      case "nearMovx":
        return push(
          `${c === "u8" ? "movzbl" : "movslq"} ${this.#operand(a, b)}, ${this.#register(b)}`,
        );
      case "nearLea":
        if (a === "NearX") this.#linear(b);
        else push(`lea ${this.#memory(a)}, ${this.#register(b)}`);
        return true;
      case "quietShift":
        return push(`${op} $${1 + this.#r.below(31)}, ${this.#register(b)}`);
      case "shift":
        return push(`${op} $${this.#r.below(32)}, ${this.#register(d)}`);
      case "unary":
        return push(`${op} ${this.#register(c)}`);
      case "imul":
        return push(`imul ${this.#register(c)}, ${this.#register(c)}`);
      case "mulAcc":
        return push(`mul ${this.#register(c)}`);
      case "nop":
        return push("nop");
      case "nearCmov":
        return push(`cmov${a.slice(4).toLowerCase()} ${this.#register(b)}, ${this.#register(b)}`);
      case "nearSetccX":
        return push(`set${a.slice(4).toLowerCase()} ${this.#memory("NearX")}`);
      case "compareJump":
        push(
          `${a.slice(0, -4).toLowerCase()}${suffix(e)} ${this.#operand(d, e)}, ${this.#operand(c, e)}`,
        );
        this.#jump(this.#conditional(b));
        return true;
      case "nearJccResult":
      case "nearJcc":
        this.#jump(this.#conditional(a));
        return true;
      case "nearJmp":
        this.#jump("jmp");
        return true;
      case "nearCall":
        return push("call f");
      case "nearPush":
        this.depth++;
        return push(`push ${this.#register("u64")}`);
      case "nearPop":
        this.depth--;
        return push(`pop ${this.#register("u64")}`);
      default:
        return false;
    }
  }

  /** A conditional jump that the form of a condition does, or its opposite. */
  #conditional(form: string): string {
    const opposites: Readonly<Record<string, string>> = {
      e: "ne",
      b: "ae",
      be: "a",
      l: "ge",
      le: "g",
      s: "ns",
    };
    const condition = form.slice(4).toLowerCase();
    return `j${this.#r.below(2) ? condition : (opposites[condition] ?? condition)}`;
  }
}

/** The lines of a chain, whose stack is as before behind them; undefined for a chain that leaves. */
export function chainText(chain: string, r: Random, label: string): string | undefined {
  const text = new Text(r, label);
  if (!chain.split("; ").every((form) => text.add(form))) return undefined;
  const before = Array.from({ length: Math.max(0, -text.depth) }, () => "push %rax");
  const after = Array.from({ length: Math.max(0, text.depth) }, () => "pop %rcx");
  // Flags that a quiet form leaves out are overwritten behind it; behind the others somebody sees them.
  const behind = r.pick(["cmp %rax, %rcx", "mov (%rdi), %rcx", "pushf\n\tpop %r8", "jmp 9f\n9:"]);
  return [...before, ...text.lines, ...after, behind].map((l) => `\t${l}\n`).join("");
}
