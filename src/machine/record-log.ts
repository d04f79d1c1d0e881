// Log records as the core wrote them, one after the other: runs with many tasks have many, and few of them are looked at
// twice.
import { LOG_SIZE, L_CPL, L_ID, L_INSN, L_RIP, L_RSP, L_TIME, L_VCPU } from "../../assembly/abi.ts";

/** A watched instruction about to execute. `insn` counts the instructions that all vCPUs had retired. */
export interface LogRecord {
  readonly insn: number;
  readonly rip: bigint;
  readonly rsp: bigint;
  readonly vcpu: number;
  readonly cpl: number;
  readonly id: number;
  /** The vCPU's virtual time. */
  readonly time: number;
}

/** The record at byte `at`. */
export function readRecord(v: DataView, at: number): LogRecord {
  return {
    insn: Number(v.getBigUint64(at + L_INSN, true)),
    rip: v.getBigUint64(at + L_RIP, true),
    rsp: v.getBigUint64(at + L_RSP, true),
    vcpu: v.getUint16(at + L_VCPU, true),
    cpl: v.getUint16(at + L_CPL, true),
    id: v.getUint32(at + L_ID, true),
    time: Number(v.getBigUint64(at + L_TIME, true)),
  };
}

/** Records in the order in which they came. */
export class RecordLog implements Iterable<LogRecord> {
  #bytes: Uint8Array;
  #used: number;

  constructor(bytes: Uint8Array = new Uint8Array(0)) {
    this.#bytes = bytes;
    this.#used = bytes.length;
  }

  get length(): number {
    return this.#used / LOG_SIZE;
  }

  /** Puts whole records, as the core writes them, behind the others. */
  append(bytes: Uint8Array): void {
    const need = this.#used + bytes.length;
    if (need > this.#bytes.length) {
      const more = new Uint8Array(Math.max(need, this.#bytes.length * 2, 64 * LOG_SIZE));
      more.set(this.#bytes.subarray(0, this.#used));
      this.#bytes = more;
    }
    this.#bytes.set(bytes, this.#used);
    this.#used = need;
  }

  /** The records that there are now, whatever comes later: the same bytes, which only ever get others behind them. */
  copy(): RecordLog {
    return new RecordLog(this.#bytes.subarray(0, this.#used));
  }

  /** The records from number `from` on. */
  slice(from: number): readonly LogRecord[] {
    const skip = this.#bytes.subarray(from * LOG_SIZE, this.#used);
    return [...new RecordLog(skip)];
  }

  *[Symbol.iterator](): Generator<LogRecord> {
    const v = new DataView(this.#bytes.buffer, this.#bytes.byteOffset);
    for (let at = 0; at < this.#used; at += LOG_SIZE) yield readRecord(v, at);
  }
}
