// The core's decoder alone: bytes in, length and vector out. Nothing is executed.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { packIsa, type Form } from "../../src/isa/index.ts";
import { Core, HOST_PAGE } from "../../src/machine/core.ts";

export interface Decoded {
  readonly length: number;
  /** Vector that the bytes themselves raise: 6 for an encoding that no row lists, 13 beyond 15 bytes. */
  readonly vector: number | undefined;
  /** The row that serves it; undefined when none lists the encoding. */
  readonly form: Form | undefined;
}

export class BareDecoder {
  readonly #core: Core;
  readonly #forms = packIsa().forms;

  constructor() {
    const wasm = readFileSync(join(import.meta.dirname, "../../dist/core.wasm"));
    this.#core = new Core(new WebAssembly.Module(wasm), 0x3000000);
    this.#core.exports.reset(1);
  }

  decode(bytes: Uint8Array): Decoded | "past the limit" {
    this.#core.bytes().set(bytes, HOST_PAGE);
    const n = this.#core.exports.decodeLength(HOST_PAGE, bytes.length);
    if (n < 0) return "past the limit";
    return {
      length: n & 0xff,
      vector: n >> 8 ? (n >> 8) - 1 : undefined,
      form: this.#forms[this.#core.exports.decodedRow()],
    };
  }
}
