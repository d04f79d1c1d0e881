// What the encoder must know about mnemonics: which take a size suffix, which immediates are as wide
// as the operand, the condition codes, and the few instructions whose bytes we state ourselves.

const SUFFIXABLE: ReadonlySet<string> = new Set(
  (
    "mov add or adc sbb and sub xor cmp test inc dec neg not mul imul div idiv shl sal shr sar rol ror " +
    "rcl rcr shld shrd push pop call jmp ret lret iret xchg xadd cmpxchg bt bts btr btc bsf bsr popcnt " +
    "lzcnt tzcnt lea nop movabs in out ins outs movs stos lods scas cmps leave enter pushf popf sysret " +
    "sysexit bswap lgdt sgdt lidt sidt str sldt lldt ltr smsw lmsw movbe crc32 lar lsl ud1 movz movs " +
    "ljmp lcall rdrand rdseed"
  ).split(" "),
);

/** A mnemonic apart from its size suffix. size: bytes, undefined when none is written. */
export interface SplitMnemonic {
  readonly base: string;
  readonly size: number | undefined;
}

const SUFFIX_SIZE: Readonly<Record<string, number>> = { b: 1, w: 2, l: 4, q: 8 };

/** Takes the suffix b, w, l or q off, where there is one. */
export function splitSuffix(mnemonic: string): SplitMnemonic {
  if (SUFFIXABLE.has(mnemonic)) return { base: mnemonic, size: undefined };
  const base = mnemonic.slice(0, -1);
  const size = SUFFIX_SIZE[mnemonic.slice(-1)];
  const cmov = /^cmov([a-z]+)$/.exec(base)?.[1];
  const whole = /^cmov([a-z]+)$/.exec(mnemonic)?.[1];
  if (whole !== undefined && CC[whole] !== undefined) return { base: mnemonic, size: undefined };
  if (
    size !== undefined &&
    (SUFFIXABLE.has(base) || (cmov !== undefined && CC[cmov] !== undefined))
  ) {
    return { base, size };
  }
  return { base: mnemonic, size: undefined };
}

/** The suffix letter of a size in bytes. */
export function suffixOf(size: number): string {
  return size === 1 ? "b" : size === 2 ? "w" : size === 4 ? "l" : "q";
}

/** Condition codes by name; the number is the low nibble of the opcode. */
export const CC: Readonly<Record<string, number>> = {
  o: 0,
  no: 1,
  b: 2,
  c: 2,
  nae: 2,
  ae: 3,
  nb: 3,
  nc: 3,
  e: 4,
  z: 4,
  ne: 5,
  nz: 5,
  be: 6,
  na: 6,
  a: 7,
  nbe: 7,
  s: 8,
  ns: 9,
  p: 10,
  pe: 10,
  np: 11,
  po: 11,
  l: 12,
  nge: 12,
  ge: 13,
  nl: 13,
  le: 14,
  ng: 14,
  g: 15,
  nle: 15,
};

/** Condition code of jCC; undefined for any other mnemonic. */
export function conditionOfJump(mnemonic: string): number | undefined {
  return mnemonic.startsWith("j") ? CC[mnemonic.slice(1)] : undefined;
}

/** Opcode bytes of branches that have only an 8-bit displacement. */
export const SHORT_BRANCHES: Readonly<Record<string, readonly number[]>> = {
  loop: [0xe2],
  loopq: [0xe2],
  loope: [0xe1],
  loopz: [0xe1],
  loopne: [0xe0],
  loopnz: [0xe0],
  jrcxz: [0xe3],
  jecxz: [0x67, 0xe3],
};

/** Instructions whose immediate is as wide as the operand (imm32 sign-extended at 64 bits). */
export const WIDE_IMMEDIATE: ReadonlySet<string> = new Set(
  "add or adc sbb and sub xor cmp test mov imul push movabs".split(" "),
);

/** Immediates of 16 bits (the first operand of enter too). */
export const IMM16: ReadonlySet<string> = new Set("ret lret enter".split(" "));

/** Instructions that need a suffix when no register tells the size. */
export const NEEDS_SIZE: ReadonlySet<string> = new Set(
  (
    "mov add or adc sbb and sub xor cmp test inc dec neg not mul imul div idiv shl sal shr sar rol ror " +
    "rcl rcr shld shrd bt bts btr btc"
  ).split(" "),
);

/** String instructions; with operands written out a register or a suffix tells the size. */
export const STRING_OPERATIONS: ReadonlySet<string> = new Set(
  "movs stos lods scas cmps ins outs".split(" "),
);

/** Of these only the last operand's register tells the size (the first is a count, %cl or a port). */
export const COUNT_FIRST: ReadonlySet<string> = new Set(
  "shl sal shr sar rol ror rcl rcr shld shrd".split(" "),
);

export const PREFIX_BYTES: Readonly<Record<string, number>> = {
  lock: 0xf0,
  rep: 0xf3,
  repe: 0xf3,
  repz: 0xf3,
  repne: 0xf2,
  repnz: 0xf2,
  data16: 0x66,
  addr32: 0x67,
  cs: 0x2e,
  ds: 0x3e,
  es: 0x26,
  ss: 0x36,
  fs: 0x64,
  gs: 0x65,
  notrack: 0x3e,
  rex64: 0x48,
  "rex.w": 0x48,
};

/** Instructions without operands that the engine does not know or gets wrong. */
export const OWN_BYTES: Readonly<Record<string, readonly number[]>> = {
  endbr64: [0xf3, 0x0f, 0x1e, 0xfa],
  endbr32: [0xf3, 0x0f, 0x1e, 0xfb],
  serialize: [0x0f, 0x01, 0xe8],
  sysexitq: [0x48, 0x0f, 0x35],
};

/** AT&T mnemonics and the SDM's, where they differ by more than a suffix. */
export const SDM_NAME: Readonly<Record<string, string>> = {
  cltq: "cdqe",
  cwtl: "cwde",
  cbtw: "cbw",
  cwtd: "cwd",
  cltd: "cdq",
  cqto: "cqo",
  movslq: "movsxd",
  lret: "retf",
  lretq: "retfq",
  ljmp: "jmp",
  lcall: "call",
  movabs: "mov",
  sal: "shl",
  ud2a: "ud2",
  movsl: "movsd",
  stosl: "stosd",
  lodsl: "lodsd",
  scasl: "scasd",
  cmpsl: "cmpsd",
  insl: "insd",
  outsl: "outsd",
  icebp: "int1",
  iretl: "iretd",
  iret: "iretd",
  sysretl: "sysret",
  xlat: "xlatb",
};
