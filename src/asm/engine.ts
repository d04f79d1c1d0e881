// The wasm seam: one keystone instance that turns one canonical AT&T instruction into bytes. It is
// given hexadecimal literals and no symbols, and its answer is not trusted (verify.ts).
import { Keystone, loadKeystone } from "keystone-wasm";
import { Reason } from "./errors.ts";

/** KS_ARCH_X86, KS_MODE_64 */
const ARCH_X86 = 4;
const MODE_64 = 8;

/** Encodes one instruction; throws Reason if the engine refuses it. */
export type Engine = (text: string) => Uint8Array;

/** Loads the engine. The default radix holds: setOption would change it to 16. */
export async function loadEngine(): Promise<Engine> {
  await loadKeystone();
  const keystone = new Keystone(ARCH_X86, MODE_64);
  let dead = false;
  return (text) => {
    if (dead) throw new Reason("the encoder has trapped before: expected a new assembler");
    let bytes: Uint8Array;
    try {
      bytes = keystone.asm(`.att_syntax prefix\n${text}`);
    } catch (e) {
      if (e instanceof Error && e.name === "RuntimeError") dead = true;
      throw new Reason(engineReason(e));
    }
    // Nothing out for something in is how this engine says no to many wrong operands.
    if (bytes.length === 0) throw new Reason("no such instruction, or its operands do not match");
    return Uint8Array.from(bytes);
  };
}

function engineReason(e: unknown): string {
  const text = e instanceof Error ? e.message : String(e);
  if (/MNEMONICFAIL/.test(text)) return "no such instruction, or its operands do not match";
  if (/INVALIDOPERAND/.test(text)) return "the operands do not match the instruction";
  return text.replace(/^Failed to assemble, error: /, "");
}
