// The parameters of a module that is loaded: what `insmod NAME.ko a=1` sets before init runs, and what can be read and
// written below /sys/module/NAME/parameters afterwards. kernel: kernel/params.c.
import {
  ERRNO,
  KERNEL_PARAM,
  log,
  look,
  MODULE,
  MODULE_CONSTANTS,
  readField,
  readUint,
  writeWord,
  type Program,
  type Read,
} from "../kernel/index.ts";

const { EINVAL, ENOENT } = ERRNO;

/** struct kernel_param. arg and num are addresses. */
export interface KernelParam {
  readonly name: string;
  readonly ops: number;
  readonly max: number;
  readonly arg: bigint;
  readonly num: bigint;
}

const NAME_MAX = 56;

function readName(read: Read, va: bigint): string {
  let text = "";
  for (let c = readUint(read, va, 1); c !== 0n && text.length < NAME_MAX;) {
    text += String.fromCharCode(Number(c));
    c = readUint(read, va + BigInt(text.length), 1);
  }
  return text;
}

/** The parameters of the module whose struct lies at mod. */
export function readParams(read: Read, mod: bigint): readonly KernelParam[] {
  const kp = readField(read, MODULE, mod, "kp");
  return Array.from({ length: Number(readField(read, MODULE, mod, "num_kp")) }, (_, i) => {
    const va = kp + BigInt(i * KERNEL_PARAM.size);
    const f = (name: keyof typeof KERNEL_PARAM.fields): bigint =>
      readField(read, KERNEL_PARAM, va, name);
    return {
      name: readName(read, f("name")),
      ops: Number(f("ops")),
      max: Number(f("max")),
      arg: f("arg"),
      num: f("num"),
    };
  });
}

/** The values that a parameter's text stands for, undefined when it is none of its kind. */
function valuesOf(p: KernelParam, text: string): readonly bigint[] | undefined {
  if (p.ops === MODULE_CONSTANTS.PARAM_OPS_BOOL) {
    // kstrtobool(): the first character decides, after an o the second one.
    const m = /^(?:([1yt]|on)|([0nf]|of))/i.exec(text);
    return m === null ? undefined : [m[1] === undefined ? 0n : 1n];
  }
  const words = p.ops === MODULE_CONSTANTS.PARAM_OPS_ARRAY ? text.split(",") : [text];
  if (words.length > Math.max(1, p.max)) return undefined;
  if (!words.every((w) => /^-?(?:0x[0-9a-f]+|\d+)$/i.test(w))) return undefined;
  return words.map((w) => (w.startsWith("-") ? -BigInt(w.slice(1)) : BigInt(w)));
}

/** Sets a parameter. Returns 0 or -EINVAL. */
export function* setParam(p: KernelParam, text: string): Program<number> {
  const values = valuesOf(p, text);
  if (values === undefined) return -EINVAL;
  const size = p.ops === MODULE_CONSTANTS.PARAM_OPS_BOOL ? 1 : 4;
  for (const [i, v] of values.entries()) yield* writeWord(p.arg + BigInt(i * size), v, size);
  if (p.num !== 0n) yield* writeWord(p.num, BigInt(values.length), 4);
  return 0;
}

/**
 * Sets what the words of a command line say. A word that names no parameter is said and ignored.
 *
 * returns  0; -EINVAL: a value is not of its parameter's kind
 * kernel   kernel/params.c, parse_args()
 */
export function* parseArgs(mod: bigint, module: string, args: string): Program<number> {
  const params = yield* look("private", (g) => ({ value: readParams(g.read, mod), cost: 0 }));
  for (const word of args.split(/\s+/).filter((w) => w !== "")) {
    const [, name = "", value = ""] = /^([^=]*)=?(.*)$/.exec(word) ?? [];
    const p = params.find((x) => x.name === name);
    if (p === undefined) {
      yield* log(`${module}: unknown parameter '${name}' ignored`);
    } else if ((yield* setParam(p, value)) !== 0) {
      yield* log(`${module}: \`${value}' invalid for parameter \`${name}'`);
      return -EINVAL;
    }
  }
  return 0;
}

/** A write to /sys/module/NAME/parameters/PARAM of the module whose struct lies at mod. Returns 0 or an errno. */
export function* paramStore(mod: bigint, name: string, text: string): Program<number> {
  const p = yield* look("module_mutex", (g) => ({
    value: readParams(g.read, mod).find((x) => x.name === name),
    cost: 0,
  }));
  return p === undefined ? -ENOENT : yield* setParam(p, text);
}
