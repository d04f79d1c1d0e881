// The files of recorded vectors: gzipped text, a block of lines for each form, under a head that says on what they were
// recorded. docs/vectors.md describes it for the reader of `zcat`.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";

export const FOLDER = join(import.meta.dirname, "../../vectors");
export const FORMAT = 1;

/** Where lines come from: a CPU in user mode, a guest of KVM, or the manual's Operation section. */
export type Source = "user" | "kvm" | "sdm";

export interface Block {
  readonly key: string;
  /** Sum of the inputs that the lines belong to. */
  readonly sum: string;
  /** Index into the recorders of the file. */
  readonly recorder: number;
  /** One per vector. A line that begins with "sdm: " was not recorded but derived. */
  readonly lines: readonly string[];
}

export interface VectorFile {
  /** CPU, way of recording and date, once for each session that blocks are left of. */
  readonly recorders: readonly string[];
  readonly blocks: ReadonlyMap<string, Block>;
}

function pathOf(name: string): string {
  return join(FOLDER, `${name}.txt.gz`);
}

export function readVectors(name: string): VectorFile {
  const path = pathOf(name);
  if (!existsSync(path)) return { recorders: [], blocks: new Map() };
  const [head = "", ...rest] = gunzipSync(readFileSync(path)).toString("utf8").split("\n@ ");
  const [first = "", ...recorders] = head.split("\n");
  if (first !== `quiesce vectors ${FORMAT}`) throw new Error(`${path}: not of format ${FORMAT}`);
  const blocks = rest.map((text): Block => {
    const [key = "", about = "", ...lines] = text.split("\n");
    const [sum = "", recorder = ""] = about.split(" ");
    return { key, sum, recorder: Number(recorder), lines };
  });
  return { recorders, blocks: new Map(blocks.map((b) => [b.key, b])) };
}

/** Writes the blocks in the order given, and only the recorders that they name. */
export function writeVectors(
  name: string,
  recorders: readonly string[],
  blocks: readonly Block[],
): number {
  const used = [...new Set(blocks.map((b) => b.recorder))].toSorted((a, b) => a - b);
  const text = [
    [`quiesce vectors ${FORMAT}`, ...used.map((i) => recorders[i] ?? "?")].join("\n"),
    ...blocks.map((b) => [b.key, `${b.sum} ${used.indexOf(b.recorder)}`, ...b.lines].join("\n")),
  ].join("\n@ ");
  mkdirSync(FOLDER, { recursive: true });
  const packed = gzipSync(text, { level: 9 });
  writeFileSync(pathOf(name), packed);
  return packed.length;
}
