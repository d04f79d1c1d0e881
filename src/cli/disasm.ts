// `quiesce disasm`: the instructions of one function of a scenario's kernel or patch, as objdump shows them. The text
// is iced-x86's; what is ours is the symbols and the marks of fentry sites.
import { Decoder, DecoderOptions, FlowControl, Formatter, FormatterSyntax, OpKind } from "iced-x86";
import type { Instruction } from "iced-x86";
import type { Image, ImageSymbol } from "../link/index.ts";
import { findSymbol, formatAddress, symbolAt } from "../link/index.ts";
import { toJson as json } from "../report/index.ts";
import { COMMON } from "./args.ts";
import type { Command } from "./command.ts";
import { command } from "./command.ts";
import { EXIT, unknown, UsageError } from "./errors.ts";
import type { Door } from "./output.ts";
import { buildNamed } from "./scenarios.ts";

interface Line {
  readonly va: bigint;
  readonly symbol: string;
  readonly bytes: string;
  readonly text: string;
  readonly fentry: boolean;
  readonly asked: boolean;
}

const ARGS = {
  ...COMMON,
  scenario: { type: "positional", required: true, description: "a scenario's name or folder" },
  where: { type: "positional", required: true, description: "a function, or an address as 0x.." },
  intel: { type: "boolean", description: "Intel syntax instead of AT&T" },
} as const;

export const disasmCommand = (door: Door): Command =>
  command("disasm", "Instructions of a function of a scenario", ARGS, async ({ args }) => {
    const { image, patch } = await buildNamed(args.scenario);
    const images = patch === undefined ? [image] : [image, patch];
    const lines = find(images, args.where).flatMap((f) =>
      disassemble(f, args.intel === true, images),
    );
    door.print(args.json === true ? json(lines) : lines.map(show).join(""));
    return EXIT.consistent;
  });

interface Found {
  readonly from: Image;
  readonly range: { readonly va: bigint; readonly size: bigint };
  readonly asked: bigint | undefined;
}

/** A function that the patch replaces is found twice: in the kernel, then in the patch. */
function find(images: readonly Image[], where: string): readonly Found[] {
  if (/^0x[0-9a-f]{1,16}$/i.test(where)) {
    const va = BigInt(where);
    for (const from of images) {
      const at = symbolAt(from, va);
      if (at === undefined || bytesAt(from, va, 1) === undefined) continue;
      return [{ from, range: { va: va - at.offset, size: at.size }, asked: va }];
    }
    throw new UsageError(`address: ${where} is in no function, expected one of the image`);
  }
  const found = images.flatMap((from): readonly Found[] => {
    const symbol = findSymbol(from, where);
    if (symbol === undefined || bytesAt(from, symbol.va, 1) === undefined) return [];
    const size = symbol.size > 0n ? symbol.size : (symbolAt(from, symbol.va)?.size ?? 0n);
    return [{ from, range: { va: symbol.va, size }, asked: undefined }];
  });
  if (found.length > 0) return found;
  const isFunction = (s: ImageSymbol): boolean => s.type === "func";
  throw unknown("symbol", where, [
    ...new Set(images.flatMap((i) => i.symbols.filter(isFunction).map((s) => s.name))),
  ]);
}

/** Bytes of an executable segment, zeros after its file part included. */
function bytesAt(image: Image, va: bigint, n: number): Uint8Array | undefined {
  const s = image.segments.find(
    (x) => x.flags.exec && va >= x.va && va + BigInt(n) <= x.va + BigInt(x.memSize),
  );
  if (s === undefined) return undefined;
  const out = new Uint8Array(n);
  const at = Number(va - s.va);
  out.set(s.bytes.subarray(at, at + n));
  return out;
}

function disassemble(found: Found, intel: boolean, images: readonly Image[]): readonly Line[] {
  const { from: image, range, asked } = found;
  const bytes = bytesAt(image, range.va, Number(range.size));
  if (bytes === undefined) throw new UsageError(`0x${range.va.toString(16)}: no code there`);
  const fentry = new Set(image.fentrySites);
  const decoder = new Decoder(64, bytes, DecoderOptions.None);
  const formatter = new Formatter(intel ? FormatterSyntax.Intel : FormatterSyntax.Gas);
  formatter.hexPrefix = "0x";
  formatter.hexSuffix = "";
  formatter.uppercaseHex = false;
  const lines: Line[] = [];
  try {
    decoder.ip = range.va;
    while (decoder.canDecode) {
      const at = decoder.position;
      const instruction = decoder.decode();
      const va = instruction.ip;
      const end = va + BigInt(instruction.length);
      lines.push({
        va,
        symbol: formatAddress(image, va),
        bytes: [...bytes.subarray(at, decoder.position)].map(hexByte).join(" "),
        text: formatter.format(instruction) + targetOf(instruction, images),
        fentry: fentry.has(va),
        asked: asked !== undefined && asked >= va && asked < end,
      });
      instruction.free();
    }
  } finally {
    formatter.free();
    decoder.free();
  }
  return lines;
}

/** ` <symbol+offset>` of a direct branch's target or a rip-relative operand. */
function targetOf(i: Instruction, images: readonly Image[]): string {
  const branch =
    i.flowControl !== FlowControl.Next && i.opCount === 1 && i.op0Kind === OpKind.NearBranch64;
  const va = branch
    ? i.nearBranchTarget
    : i.isIpRelMemoryOperand
      ? i.ipRelMemoryAddress
      : undefined;
  if (va === undefined) return "";
  // The patch first: the kernel knows its place only as patch_room.
  for (const image of images.toReversed()) {
    const at = symbolAt(image, va);
    if (at === undefined) continue;
    return ` <${at.name}${at.offset === 0n ? "" : `+0x${at.offset.toString(16)}`}>`;
  }
  return "";
}

function hexByte(b: number): string {
  return b.toString(16).padStart(2, "0");
}

function show(line: Line): string {
  const mark = line.asked ? "=>" : "  ";
  const fentry = line.fentry ? "  # fentry site" : "";
  const place = line.symbol.replace(/\/.*$/, "");
  return `${mark} ${line.va.toString(16)} <${place}>  ${line.bytes.padEnd(30)} ${line.text}${fentry}\n`;
}
