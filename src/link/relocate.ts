// Applies RELA relocations to bytes, with the range checks of the psABI. It is told the address of
// every symbol; it looks nothing up by name.
import type { Reloc, RelocType } from "../asm/index.ts";

/** A link that cannot be: what, where, and what was expected. */
export class LinkError extends Error {
  override name = "LinkError";
}

interface Kind {
  readonly size: 1 | 2 | 4 | 8;
  readonly relative: boolean;
  /** undefined: any value modulo the size. */
  readonly range: "signed" | "unsigned" | "either" | undefined;
}

const KINDS: Readonly<Record<RelocType, Kind>> = {
  R_X86_64_64: { size: 8, relative: false, range: undefined },
  R_X86_64_PC64: { size: 8, relative: true, range: undefined },
  R_X86_64_PC32: { size: 4, relative: true, range: "signed" },
  R_X86_64_PLT32: { size: 4, relative: true, range: "signed" },
  R_X86_64_32: { size: 4, relative: false, range: "unsigned" },
  R_X86_64_32S: { size: 4, relative: false, range: "signed" },
  R_X86_64_16: { size: 2, relative: false, range: "either" },
  R_X86_64_PC16: { size: 2, relative: true, range: "signed" },
  R_X86_64_8: { size: 1, relative: false, range: "either" },
  R_X86_64_PC8: { size: 1, relative: true, range: "signed" },
};

/**
 * Writes S + A or S + A - P into bytes.
 *
 * bytes    the section's, changed in place
 * va       of the section's first byte
 * symbol   S; name and where are for the error
 * throws   LinkError when the value does not fit
 */
export function relocate(
  bytes: Uint8Array,
  va: bigint,
  r: Reloc,
  symbol: bigint,
  name: string,
  where: string,
): void {
  const kind = KINDS[r.type];
  const at = `${where}+0x${r.offset.toString(16)}`;
  if (r.offset < 0 || r.offset + kind.size > bytes.length) {
    throw new LinkError(`${at}: ${r.type} is outside the section of ${bytes.length} bytes`);
  }
  const target = symbol + r.addend;
  const p = va + BigInt(r.offset);
  const value = kind.relative ? BigInt.asIntN(64, target - p) : target;
  const bits = kind.size * 8;
  const signed = BigInt.asIntN(64, value);
  const fitsSigned = BigInt.asIntN(bits, signed) === signed;
  const fitsUnsigned = BigInt.asUintN(bits, signed) === BigInt.asUintN(64, signed);
  const ok =
    kind.range === undefined ||
    (kind.range !== "unsigned" && fitsSigned) ||
    (kind.range !== "signed" && fitsUnsigned);
  if (!ok) {
    throw new LinkError(
      `${at}: ${r.type} against ${name} does not fit: 0x${BigInt.asUintN(64, value).toString(16)}, ` +
        `expected ${bits} bits ${kind.range}`,
    );
  }
  let rest = BigInt.asUintN(bits, value);
  for (let i = 0; i < kind.size; i++) {
    bytes[r.offset + i] = Number(rest & 0xffn);
    rest >>= 8n;
  }
}
