// Random programs of labels, branches, alignment and gaps: what makes relaxation hard.
import { uniformInt } from "pure-rand/distribution/uniformInt";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";

/** A section of its own full of branches between its labels. */
export function randomBranches(seed: number, prefix: string): string {
  const rng = xoroshiro128plus(seed);
  const below = (n: number): number => uniformInt(rng, 0, n - 1);
  const pick = (words: readonly string[]): string => words[below(words.length)] ?? "";
  const nrLabels = 4 + below(40);
  const label = (): string => `${prefix}${below(nrLabels)}`;
  const out = [`.section .${prefix},"ax"`];
  const statements = [
    () => `${pick(["jmp", "jne", "ja"])} ${label()}`,
    () => `${pick(["jmp", "jo"])} ${label()}${pick(["", "+2"])}`,
    () => `.p2align ${below(6)}${pick(["", ",,7", ",0x90", ",0xcc"])}`,
    () => `.skip ${below(120)}${pick(["", ",0x90"])}`,
    () => "nop",
    () => `call ${label()}`,
    () => `lea ${label()}(%rip),%rax`,
  ];
  for (let i = 0; i < nrLabels; i++) {
    const bind = below(8);
    if (bind === 0) out.push(`.globl ${prefix}${i}`);
    else if (bind === 1) out.push(`.weak ${prefix}${i}`);
    out.push(`${prefix}${i}:`);
    for (let j = below(8); j > 0; j--) out.push(statements[below(statements.length)]?.() ?? "");
  }
  return `${out.join("\n")}\n`;
}
