// The text of the near forms in the interpreter's hot loop (dispatch.ts): each is its steps one behind the other, over the
// statements of assembly/near.ts. A step whose flags a later step of its chain overwrites is done without them; where the chain is
// left in between, they are worked out there.
import { UOP_SIZE } from "../../assembly/abi.ts";
import { accessOf, type NearAccess, type NearUop } from "./near.ts";

interface Place {
  /** Its address. */
  readonly va: string;
  readonly bytes: number;
  readonly write: boolean;
}

/** Finds an operand in memory: `p`, or the way out. */
function placeText({ va, bytes, write }: Place, leave: string): string {
  const [gap, near, far] = write
    ? ["writeGap(e, va)", "gap <= room", "gap - OUTSIDE > room"]
    : [`readGap(e, va, ${bytes})`, "!gap", "gap != OUTSIDE"];
  return [
    `const va = ${va}; const e = tlbEntry(${write ? "w" : "r"}, va);`,
    `const gap = ${gap};${write ? ` const room = writeRoom(e, ${bytes});` : ""}`,
    `let p: usize = 0; if (${near}) p = <usize>(<u32>va & WINDOW);`,
    `else { const add = load<u32>(e, T_ADD);`,
    `if (i32(${far}) | i32(!add)) { ${leave} continue; } p = <usize>(<u32>va + add); }`,
  ].join(" ");
}

/** The operand in memory of the record that is `o` behind the first one of the form. */
function placeOf({ operand, type, write }: NearAccess, o: number): Place {
  const va = `the<${operand}>().va(up, ${o})`;
  return { va, bytes: Number(type.slice(1)) / 8, write };
}

/** What keeps a step from being done; \`op\` is whose flags it finds. */
const HINDRANCES: readonly (readonly [RegExp, string])[] = [
  [/^nearPop\b/, "popPasses(0)"],
  [/^near(Adc|Sbb)\b/, "otherThanSub(op)"],
  [/^near(Cmov|SetccX?)\b/, "otherThanSubOrLogic(op)"],
];

/** Steps with a condition, which are told whose flags they find. */
const CONDITIONAL = /^near(Cmov|Setcc|SetccX|Jcc|JccResult)\b/;

/** Last steps that are always done, once their operand is at hand. */
const NEVER_STAYS = /^(compareJump|nearJmp$)/;

/** The statements of assembly/near.ts that do what steps over registers do. */
const OVER_NEAR: readonly (readonly [RegExp, string])[] = [
  [/^alu<(\w+), RegA, RegB, (\w+)>/, "nearAlu<$1, NearA, NearB, $2>"],
  [/^alu<(\w+), RegA, Constant, (\w+)>/, "nearAlu<$1, NearA, NearConstant, $2>"],
  [/^mov<RegA, RegB, (\w+)>/, "nearMov<NearA, NearB, $1>"],
  [/^mov<RegA, Constant, (\w+)>/, "nearMov<NearA, NearConstant, $1>"],
  [/^movzx<RegA, RegB, i(\d+), i(\d+)>/, "nearMovx<NearB, i$1, u$2>"],
  [/^movsx<RegA, RegB, i(\d+), i(\d+)>/, "nearMovx<NearB, i$1, i$2>"],
];

/** A rotation, which leaves some of the flags that were before it, is only worth its place where an INC or DEC follows. */
const ROTATION = /^shift<Ror, RegA, Constant, i64>/;
const COUNTING = /^unary<(Inc|Dec), RegA, (i32|i64)>/;

/** The name of a call with its type parameters, as a statement of assembly/near.ts where there is one. */
function nameOf(call: string): string {
  const name = call.replace(/\(.*/, "");
  const [pattern, over] = OVER_NEAR.find(([r]) => r.test(name)) ?? [];
  return pattern === undefined || over === undefined ? name : name.replace(pattern, over);
}

/** Steps that overwrite all flags, whatever their operands, and look at none. */
const KILLS = /^(nearAlu<(Add|Sub|And|Or|Xor|Cmp|Test)|compareJump)\b/;
/** Steps that neither write flags nor look at any. */
const KEEPS = /^(nearAlu<Quiet|quietShift|near(Mov|Movx|Lea|Push|Pop|Leave)\b|nop\b|unary<Not)/;

/** Whether a later step of the chain overwrites all flags before anything looks at them. */
function overwritten(names: readonly string[], i: number): boolean {
  const next = names.slice(i + 1).find((n) => !KEEPS.test(n));
  return next !== undefined && KILLS.test(next);
}

/** Whose flags step \`i\` finds, as far as the chain tells. */
function flagsAt(names: readonly string[], i: number): string {
  const from = names
    .slice(0, i)
    .findLast((n) => !KEEPS.test(n) && !/^near(Cmov|SetccX?)\b/.test(n));
  if (from !== undefined && /^nearAlu<(Cmp|Sub)\b/.test(from)) return "Cc.Sub";
  if (from !== undefined && /^nearAlu<(Test|And|Or|Xor)\b/.test(from)) return "Cc.Logic";
  return "load<i32>(CC_OP)";
}

/** Whether a step may find that it cannot be done. */
function leaves(name: string): boolean {
  return accessOf(`${name}(`) !== undefined || HINDRANCES.some(([r]) => r.test(name));
}

/** Steps that write no register. */
const STORES = /^(nearMov<NearX?,|nop\b|nearAlu<(Cmp|Test)|compareJump)/;

/** Whether, wherever the chain can be left behind step \`i\` and before its flags are overwritten, its result and operands are still there. */
function isThere(names: readonly string[], i: number): boolean {
  const end = names.findIndex((n, k) => k > i && !KEEPS.test(n));
  const last = names.slice(0, end + 1).findLastIndex(leaves);
  return names.slice(i + 1, last).every((n) => STORES.test(n));
}

interface Deferred {
  /** The step without its flags. */
  readonly text: string;
  /** What sets them later. */
  readonly flags: string;
}

/** Step \`i\` over a register without its flags, where that gains something. Its operands stay in variables of that number. */
function deferred(names: readonly string[], i: number): Deferred | undefined {
  const name = names[i] ?? "";
  const o = i * UOP_SIZE;
  const take = (v: string, of: string, type: string): string =>
    `const ${v}${i} = the<${of}>().get<${type}>(up, ${o}, 0);`;
  const put = (type: string, v: string): string => `the<NearA>().put<${type}>(up, ${o}, 0, ${v});`;
  // The flags' operands have their sign.
  const signed = (v: string, width: string): string => `<i64>(<i${width}>(${v}${i}))`;
  const [, op, source = "", w = ""] =
    /^nearAlu<(Add|Sub|And|Or|Xor), NearA, (NearB|NearConstant), i(32|64)>/.exec(name) ?? [];
  if (op !== undefined) {
    if (!isThere(names, i)) return undefined;
    const quiet = put(`u${w}`, `the<Quiet${op}>().do<u${w}>(a${i}, b${i})`);
    const result = `<i64>(<i${w}>the<NearA>().get<u${w}>(up, ${o}, 0))`;
    // One register may be both.
    const other = source === "NearB" ? signed("b", w) : `load<i64>(up + ${o}, U_IMM)`;
    const flags =
      op === "Add" || op === "Sub"
        ? `the<${op}>().do<i${w}>(<i64>(<i${w}>(${result} ${op === "Add" ? "-" : "+"} ${other})), ${other});`
        : `lazyLogic(${result});`;
    return { text: `${take("a", "NearA", `u${w}`)} ${take("b", source, `u${w}`)} ${quiet}`, flags };
  }
  const [, shift, width = ""] = /^shift<(Shl|Shr), RegA, Constant, i(32|64)>/.exec(name) ?? [];
  if (shift !== undefined) {
    const count = `const n${i} = load<i64>(up + ${o}, U_IMM) & ${width === "64" ? 63 : 31};`;
    const quiet = put(`u${width}`, `the<Quiet${shift}>().do<u${width}>(a${i}, n${i})`);
    return {
      text: `${count} ${take("a", "NearA", `u${width}`)} ${quiet}`,
      flags: `if (n${i}) the<${shift}>().do<i${width}>(${signed("a", width)}, <i32>n${i});`,
    };
  }
  const [, unary, u = ""] = /^unary<(Inc|Dec), RegA, i(32|64)>/.exec(name) ?? [];
  if (unary === undefined) return undefined;
  const quiet = put(`u${u}`, `a${i} ${unary === "Inc" ? "+" : "-"} 1`);
  return {
    text: `${take("a", "NearA", `u${u}`)} ${quiet}`,
    flags: `the<${unary}>().do<i${u}>(${signed("a", u)});`,
  };
}

interface Step {
  readonly name: string;
  /** Whose flags it finds. */
  readonly op: string;
  readonly o: number;
  readonly last: boolean;
  readonly ends: boolean;
  /** Sets the flags of the step before it that was done without them. */
  readonly flags: string;
}

/** A step of the hot loop. One that can be missed ends the loop in the dispatch of the record that says so. */
function stepText({ name, op, o, last, ends, flags }: Step): string {
  if (!/^(near|quiet|compareJump)/.test(name)) {
    return `${name}(up + ${o});${last ? ` up += ${o} + UOP_SIZE;` : ""}`;
  }
  const access = accessOf(`${name}(`);
  const leave = `${flags} up = miss(up + ${o});`;
  const [, hindrance] = HINDRANCES.find(([r]) => r.test(name)) ?? [];
  const known = CONDITIONAL.test(name) || hindrance?.includes("op") === true;
  const whose = known ? `const op = ${op}; ` : "";
  const unless = hindrance === undefined ? "" : `if (${hindrance}) { ${leave} continue; } `;
  const place = access === undefined ? "" : `${placeText(placeOf(access, o), leave)} `;
  const p = access === undefined ? "0" : "p";
  const more = name.startsWith("nearCallIndirect") ? ", r" : CONDITIONAL.test(name) ? ", op" : "";
  const plain = `${name}(up, ${o}, ${p}${more})`;
  const result = last ? (ends ? "next = " : "up = ") : "";
  const end = last && ends ? endText(name, o) : "";
  return `{ ${whose}${unless}${place}${result}${plain}; }${end}`;
}

/** Behind a last step. Where it is not done, the loop ends at its record. */
function endText(name: string, o: number): string {
  return NEVER_STAYS.test(name) ? " break;" : ` if (!next) return up + ${o}; break;`;
}

/** Pushes, or pops and a return, of neighbouring slots: one look for their place. */
function runText(steps: readonly Step[]): string {
  const [first, last] = [steps[0], steps.at(-1)];
  if (first === undefined || last === undefined) return "";
  const bytes = 8 * steps.length;
  const leave = `${first.flags} up = miss(up + ${first.o});`;
  const write = first.name.startsWith("nearPush");
  const calls = steps.map(({ name, o }, i) => {
    return `${name}(up, ${o}, p + ${write ? bytes - 8 * (i + 1) : 8 * i})`;
  });
  const va = `load<u64>(RSP)${write ? ` - ${bytes}` : ""}`;
  const nrPops = write ? 0 : steps.filter((s) => !s.ends || !s.last).length;
  const unless = nrPops === 0 ? "" : `if (popPasses(${8 * nrPops - 8})) { ${leave} continue; } `;
  const final = calls.pop() ?? "";
  const result = last.last ? (last.ends ? "next = " : "up = ") : "";
  const end = last.last && last.ends ? endText(last.name, last.o) : "";
  const before = calls.map((c) => `${c};`).join(" ");
  return `{ ${unless}${placeText({ va, bytes, write }, leave)} ${before} ${result}${final}; }${end}`;
}

/** How many steps from the first one on are a run, or 1. */
function runLength(names: readonly string[]): number {
  const pushes = names.findIndex((n) => !n.startsWith("nearPush"));
  if (pushes !== 0) return pushes < 0 ? names.length : pushes;
  const pops = names.findIndex((n) => n !== "nearPop");
  if (pops === 0) return 1;
  return pops < 0 ? names.length : pops + (names[pops] === "nearRet" ? 1 : 0);
}

/** A near form, in the order of its steps. */
export function nearText(u: NearUop): string {
  const names = (u.chain ?? [u.call]).map(nameOf);
  let flags = "";
  const texts: string[] = [];
  const step = (name: string, i: number): Step => {
    const last = i === names.length - 1;
    return { name, op: flagsAt(names, i), o: i * UOP_SIZE, last, ends: u.ends, flags };
  };
  if (names.length === 1 && ROTATION.test(names[0] ?? "")) return "return up;";
  for (let i = 0; i < names.length;) {
    const [, count, width] = COUNTING.exec(names[i + 1] ?? "") ?? [];
    if (ROTATION.test(names[i] ?? "") && count !== undefined && i + 2 < names.length) {
      texts.push(
        `nearRorThen<Count${count === "Inc" ? "Up" : "Down"}, ${width}>(up, ${i * UOP_SIZE}, 0);`,
      );
      flags = "";
      i += 2;
      continue;
    }
    const run = names.slice(i, i + runLength(names.slice(i)));
    const d = overwritten(names, i) ? deferred(names, i) : undefined;
    const steps = run.map((name, k) => step(name, i + k));
    texts.push(d?.text ?? (run.length > 1 ? runText(steps) : steps.map(stepText).join("")));
    if (!run.every((name) => KEEPS.test(name))) flags = d?.flags ?? "";
    i += run.length;
  }
  return `{ ${texts.join(" ")}${u.ends ? "" : " continue;"} }`;
}
