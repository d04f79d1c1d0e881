// A 16550A serial port: what the guest writes is collected for the host, what the host gives is there to be read. It is
// infinitely fast, so the transmitter is always empty. From the data sheet, National Semiconductor PC16550D (1995).
import type { Device, DeviceAccess, DeviceRange, InterruptLines } from "./device.ts";

const IER_RECEIVED = 1;
const IER_EMPTY = 2;
const IIR_NONE = 1;
const IIR_EMPTY = 2;
const IIR_RECEIVED = 4;
const FCR_ENABLE = 1;
const LCR_DLAB = 0x80;
const MCR_OUT2 = 8;
const MCR_LOOP = 0x10;
const LSR_READY = 1;
const LSR_EMPTY = 0x60;

// Registers by offset; what an offset means depends on the direction and on LCR_DLAB.
const DATA = 0;
const IER = 1;
const IIR = 2;
const LCR = 3;
const MCR = 4;
const LSR = 5;
const MSR = 6;
const SCRATCH = 7;

const KEPT = 8; // ier fcr lcr mcr scratch dll dlm emptied

export interface UartConfig {
  /** First of its eight ports; COM1 is 0x3f8. */
  readonly port: number;
  /** Where its interrupt goes when MCR.OUT2 lets it out; none without. */
  readonly irq?: { readonly vcpu: number; readonly vector: number };
}

export class Uart implements Device {
  readonly name: string;
  readonly ranges: readonly DeviceRange[];
  readonly #irq: UartConfig["irq"];
  #lines: InterruptLines | undefined;
  #ier = 0;
  #fcr = 0;
  #lcr = 3;
  #mcr = 0;
  #scratch = 0;
  #dll = 12;
  #dlm = 0;
  /** The transmitter-empty interrupt stands: since a byte left or IER allowed it, until IIR showed it. */
  #emptied = false;
  #input: number[] = [];
  #output: number[] = [];

  constructor(config: UartConfig) {
    const start = BigInt(config.port);
    this.name = `uart@0x${config.port.toString(16)}`;
    this.ranges = [{ space: "port", start, end: start + 8n }];
    this.#irq = config.irq;
  }

  connect(lines: InterruptLines): void {
    this.#lines = lines;
  }

  /** Bytes that the guest has sent. */
  get output(): Uint8Array {
    return Uint8Array.from(this.#output);
  }

  /** Bytes for the guest to receive. */
  receive(bytes: Uint8Array): void {
    for (const b of bytes) this.#input.push(b);
    this.#raise();
  }

  #cause(): number {
    if (this.#ier & IER_RECEIVED && this.#input.length > 0) return IIR_RECEIVED;
    return this.#ier & IER_EMPTY && this.#emptied ? IIR_EMPTY : IIR_NONE;
  }

  #raise(): void {
    if (!this.#irq || !(this.#mcr & MCR_OUT2) || this.#cause() === IIR_NONE) return;
    this.#lines?.interrupt(this.#irq.vcpu, this.#irq.vector);
  }

  read({ offset, width }: DeviceAccess): bigint {
    let v = 0n;
    for (let i = 0; i < width; i++) v |= BigInt(this.#get(offset + i)) << BigInt(i * 8);
    return v;
  }

  #get(offset: number): number {
    const dlab = (this.#lcr & LCR_DLAB) !== 0;
    switch (offset) {
      case DATA:
        if (dlab) return this.#dll;
        return this.#input.shift() ?? 0;
      case IER:
        return dlab ? this.#dlm : this.#ier;
      case IIR: {
        const cause = this.#cause();
        if (cause === IIR_EMPTY) this.#emptied = false;
        return cause | (this.#fcr & FCR_ENABLE ? 0xc0 : 0);
      }
      case LCR:
        return this.#lcr;
      case MCR:
        return this.#mcr;
      case LSR:
        return LSR_EMPTY | (this.#input.length > 0 ? LSR_READY : 0);
      case MSR:
        return this.#modem();
      default:
        return offset === SCRATCH ? this.#scratch : 0xff;
    }
  }

  /** CTS DSR DCD as of a connected line, or the outputs of MCR in loop-back. */
  #modem(): number {
    if (!(this.#mcr & MCR_LOOP)) return 0xb0;
    const [dtr, rts, out1, out2] = [1, 2, 4, 8].map((b) => (this.#mcr & b ? 1 : 0));
    return ((rts ?? 0) << 4) | ((dtr ?? 0) << 5) | ((out1 ?? 0) << 6) | ((out2 ?? 0) << 7);
  }

  write({ offset, width }: DeviceAccess, value: bigint): void {
    for (let i = 0; i < width; i++) this.#set(offset + i, Number((value >> BigInt(i * 8)) & 0xffn));
  }

  #set(offset: number, v: number): void {
    const dlab = (this.#lcr & LCR_DLAB) !== 0;
    if (offset === DATA) {
      if (dlab) this.#dll = v;
      else this.#send(v);
    } else if (offset === IER) {
      if (dlab) this.#dlm = v;
      else this.#enable(v & 15);
    } else if (offset === IIR) {
      this.#fcr = v & FCR_ENABLE;
      if (v & 2) this.#input = [];
    } else if (offset === LCR) this.#lcr = v;
    else if (offset === MCR) {
      this.#mcr = v & 0x1f;
      this.#raise();
    } else if (offset === SCRATCH) this.#scratch = v;
  }

  #send(v: number): void {
    if (this.#mcr & MCR_LOOP) this.#input.push(v);
    else this.#output.push(v);
    this.#emptied = true;
    this.#raise();
  }

  #enable(v: number): void {
    if (v & IER_EMPTY && !(this.#ier & IER_EMPTY)) this.#emptied = true;
    this.#ier = v;
    this.#raise();
  }

  save(): Uint8Array {
    const { length } = this.#input;
    const head = [this.#ier, this.#fcr, this.#lcr, this.#mcr, this.#scratch, this.#dll, this.#dlm];
    const out = new Uint8Array(KEPT + 4 + length + this.#output.length);
    out.set([...head, this.#emptied ? 1 : 0]);
    new DataView(out.buffer).setUint32(KEPT, length, true);
    out.set(this.#input, KEPT + 4);
    out.set(this.#output, KEPT + 4 + length);
    return out;
  }

  restore(state: Uint8Array): void {
    const [ier = 0, fcr = 0, lcr = 0, mcr = 0, scratch = 0, dll = 0, dlm = 0, emptied = 0] = state;
    this.#ier = ier;
    this.#fcr = fcr;
    this.#lcr = lcr;
    this.#mcr = mcr;
    this.#scratch = scratch;
    this.#dll = dll;
    this.#dlm = dlm;
    this.#emptied = emptied === 1;
    const length = new DataView(state.buffer, state.byteOffset).getUint32(KEPT, true);
    this.#input = [...state.subarray(KEPT + 4, KEPT + 4 + length)];
    this.#output = [...state.subarray(KEPT + 4 + length)];
  }
}
