// The initial stack of a program: strings, auxiliary vector, environment, arguments, as the kernel lays them out.
// System V ABI AMD64, "Process Initialization"; fs/binfmt_elf.c, create_elf_tables().
import { ProgramError, type Program } from "./elf.ts";
import { PAGE } from "./linux.ts";

export interface StackConfig {
  readonly program: Program;
  readonly argv: readonly (string | Uint8Array)[];
  readonly env: readonly (string | Uint8Array)[];
  /** AT_EXECFN. */
  readonly execfn: string | Uint8Array;
  /** AT_RANDOM: Uint8Array[16]. */
  readonly random: Uint8Array;
  /** AT_HWCAP. */
  readonly hwcap: bigint;
  /** AT_UID and the three like it. */
  readonly uid: bigint;
}

/** HWCAP2_FSGSBASE: arch/x86/include/uapi/asm/hwcap2.h. */
const HWCAP2 = 2n;

const AT_NULL = 0n;
const AT_PHDR = 3n;
const AT_PHENT = 4n;
const AT_PHNUM = 5n;
const AT_PAGESZ = 6n;
const AT_BASE = 7n;
const AT_FLAGS = 8n;
const AT_ENTRY = 9n;
const AT_UID = 11n;
const AT_EUID = 12n;
const AT_GID = 13n;
const AT_EGID = 14n;
const AT_PLATFORM = 15n;
const AT_HWCAP = 16n;
const AT_CLKTCK = 17n;
const AT_SECURE = 23n;
const AT_RANDOM = 25n;
const AT_HWCAP2 = 26n;
const AT_RSEQ_FEATURE_SIZE = 27n;
const AT_RSEQ_ALIGN = 28n;
const AT_EXECFN = 31n;
const AT_MINSIGSTKSZ = 51n;
/** Arguments and environment may take a quarter of the stack, as in the kernel. */
const ARG_MAX = 0x20_0000;

/**
 * Makes the bytes that end at `top`.
 *
 * returns  rsp, and the bytes from there up to `top`
 * throws   ProgramError when arguments and environment are too long
 */
export function initialStack(
  c: StackConfig,
  top: bigint,
): { readonly rsp: bigint; readonly bytes: Uint8Array } {
  const parts: Uint8Array[] = [];
  let at = top;
  const push = (bytes: Uint8Array): bigint => {
    parts.push(bytes);
    at -= BigInt(bytes.length);
    return at;
  };
  const text = (s: string | Uint8Array): bigint => {
    const bytes = typeof s === "string" ? new TextEncoder().encode(s) : s;
    return push(Uint8Array.from([...bytes, 0]));
  };
  push(new Uint8Array(8));
  const execfn = text(c.execfn);
  const env = c.env.toReversed().map(text).toReversed();
  const argv = c.argv.toReversed().map(text).toReversed();
  const platform = text("x86_64");
  const random = push(c.random);
  const aux = [
    AT_HWCAP, c.hwcap,
    AT_PAGESZ, BigInt(PAGE),
    AT_CLKTCK, 100n,
    AT_PHDR, c.program.phdr,
    AT_PHENT, 56n,
    AT_PHNUM, BigInt(c.program.phnum),
    AT_BASE, 0n,
    AT_FLAGS, 0n,
    AT_ENTRY, c.program.entry,
    AT_UID, c.uid,
    AT_EUID, c.uid,
    AT_GID, c.uid,
    AT_EGID, c.uid,
    AT_SECURE, 0n,
    AT_RANDOM, random,
    AT_HWCAP2, HWCAP2,
    AT_MINSIGSTKSZ, 1040n, // get_sigframe_size()
    AT_RSEQ_FEATURE_SIZE, 28n,
    AT_RSEQ_ALIGN, 32n,
    AT_EXECFN, execfn,
    AT_PLATFORM, platform,
    AT_NULL, 0n,
  ]; // prettier-ignore
  const words = [BigInt(c.argv.length), ...argv, 0n, ...env, 0n, ...aux];
  const rsp = (at - BigInt(words.length * 8)) & ~15n;
  const size = Number(top - rsp);
  if (size > ARG_MAX) {
    throw new ProgramError(
      `arguments and environment take ${size} bytes, expected at most ${ARG_MAX}`,
    );
  }
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  for (const [i, w] of words.entries()) view.setBigUint64(i * 8, w, true);
  let end = size;
  for (const p of parts) {
    end -= p.length;
    bytes.set(p, end);
  }
  return { rsp, bytes };
}
