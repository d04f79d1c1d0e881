// Writes src/bench/programs/wide.c: code with 7,000 live micro-ops spread over 100 functions, from a seed. Every function is
// called in each round, most of its statements are executed, and nothing repeats, so that an interpreter's branch
// predictors and caches meet many instructions instead of a few hot ones.
import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const top = join(dirname(fileURLToPath(import.meta.url)), "..");
const FUNCTIONS = 100;
const STATEMENTS = 26;
const VARIABLES = ["a", "b", "c", "d"];

let state = 20150225n;
/** A whole number below `n`, by the generator of the programs. */
function below(n) {
  state = BigInt.asUintN(64, state * 6364136223846793005n + 1442695040888963407n);
  return Number((state >> 33n) % BigInt(n));
}
const one = (list) => list[below(list.length)];

const KINDS = [
  (x, y) => `${x} += ${y};`,
  (x, y) => `${x} -= ${y};`,
  (x, y) => `${x} ^= ${y};`,
  (x, y, z) => `${x} = (${y} & 0x${(below(65535) + 1).toString(16)}) + ${z};`,
  (x, y) => `${x} |= ${y} >> ${1 + below(40)};`,
  (x, y) => `${x} = ${x} * ${3 + 2 * below(5)} + ${y};`,
  (x) => `${x} = ${x} << ${1 + below(9)} ^ ${x} >> ${1 + below(9)};`,
  (x) => `${x} += m[${below(64)}];`,
  (x, y) => `m[${below(64)}] = ${x} + ${y};`,
  (x, y) => `m[${below(64)}] ^= ${y}; ${x}++;`,
  (x, y) => `${x} += *(u32 *)((u8 *)m + (${y} & 252));`,
  (x, y) => `*((u8 *)m + (${y} & 511)) = ${x};`,
  (x) => `${x} = (u32)${x} * ${1 + below(1000)}u;`,
  (x, y, z) => `if (${x} & ${1 << below(5)}) ${y} += ${1 + below(99)}; else ${z} ^= ${x};`,
  (x, y, z) => `if (${x} < ${y}) ${z} -= ${x};`,
  (x, y) => `${x} = ${y} > ${x} ? ${y} - ${x} : ${x} + ${1 + below(9)};`,
];

const lines = [
  "/* Made by scripts/bench-wide.mjs. 100 functions of about 70 instructions, each called n times in turn. */",
  '#include "bench.h"',
  'const char name[] = "wide";',
  "static u64 m[64];",
];
for (let i = 0; i < FUNCTIONS; i++) {
  lines.push(`__attribute__((noinline)) static u64 f${i}(u64 a, u64 b) {`);
  lines.push(`\tu64 c = a ^ ${1 + below(1000)}, d = b + ${1 + below(1000)};`);
  for (let k = 0; k < STATEMENTS; k++) {
    const first = below(4);
    const [x, y, z] = [0, 1, 2].map((v) => VARIABLES[(first + v * (k % 2 ? 1 : 3)) % 4]);
    lines.push(`\t${one(KINDS)(x, y, z)}`);
  }
  lines.push("\treturn a + b + c + d;", "}");
}
lines.push("static u64 (*const all[])(u64, u64) = {");
for (let i = 0; i < FUNCTIONS; i += 10) {
  lines.push(`\t${Array.from({ length: 10 }, (_, k) => `f${i + k},`).join(" ")}`);
}
lines.push(
  "};",
  "static u64 work(u64 n) {",
  "\tu64 sum = 0;",
  "\twhile (n--)",
  "\t\tfor (u32 i = 0; i < sizeof all / sizeof *all; i++) sum = sum * 5 + all[i](sum, n + i);",
  "\treturn sum;",
  "}",
  "",
);
writeFileSync(join(top, "src/bench/programs/wide.c"), lines.join("\n"));
