// The machine's RAM as page frames, and the page tables that the host keeps for the program: which page has which
// frame, with which rights. It asks no questions about rights; space.ts does. SDM Vol. 3A, "4-Level Paging". A page gets
// the frame at the low 32 bits of its address where it can, because the core is fastest there (assembly/mmu.ts, placed).
import type { Machine } from "../machine/index.ts";
import { PAGE, PROT_EXEC, PROT_WRITE } from "./linux.ts";

const P = 1n;
const RW = 2n;
const US = 4n;
const A = 0x20n;
const D = 0x40n;
const NX = 1n << 63n;
const ZEROS = new Uint8Array(PAGE);
/** Pages whose addresses have equal low 32 bits are so far apart. */
const WINDOW = 2 ** 20;

/** RAM is used up. */
export class OutOfMemory extends Error {
  override name = "OutOfMemory";
}

export class PageTables {
  readonly #machine: Machine;
  readonly #root: number;
  /** Frames below have been given. */
  #next: number;
  /** 1 for a frame that is given. */
  readonly #used: Uint8Array;
  #free: number;
  /** 1 for a frame that was given before, and is not zero. */
  readonly #stale: Uint8Array;
  /** Page number over 512 -> frame numbers of those 512 pages, 0 where there is none: frame 0 is never given. */
  readonly #frames = new Map<number, Uint32Array>();
  /** Level (1 a page table, 2, 3) and index -> frame number of the table. */
  readonly #tables: readonly Map<number, number>[] = [new Map(), new Map(), new Map(), new Map()];

  /** `root` is the frame of the top-level table; frames from `first` on are free and zero. */
  constructor(machine: Machine, root: number, first: number, nrFrames: number) {
    this.#machine = machine;
    this.#root = root;
    this.#next = first;
    this.#used = new Uint8Array(nrFrames).fill(1, 0, first);
    this.#stale = new Uint8Array(nrFrames);
    this.#free = nrFrames - first;
  }

  /** Frames that can still be given. */
  nrFree(): number {
    return this.#free;
  }

  /** The frame of a page, undefined when it has none. */
  frameOf(page: number): number | undefined {
    const frame = this.#frames.get(Math.floor(page / 512))?.[page % 512];
    return frame === 0 ? undefined : frame;
  }

  #setFrame(page: number, frame: number): void {
    const index = Math.floor(page / 512);
    let block = this.#frames.get(index);
    if (block === undefined) {
      block = new Uint32Array(512);
      this.#frames.set(index, block);
    }
    block[page % 512] = frame;
  }

  /** A frame of zeros: that of the window for a page if it is free, else the lowest. Throws OutOfMemory. */
  #allocate(page?: number): number {
    const wanted = page === undefined ? 0 : page % WINDOW;
    let frame = wanted;
    if (this.#used[wanted] !== 0) {
      frame = this.#used.indexOf(0, this.#next);
      if (frame < 0) throw new OutOfMemory("all frames are in use");
      this.#next = frame + 1;
    }
    this.#used[frame] = 1;
    this.#free--;
    if (this.#stale[frame] === 1) this.#machine.writePhys(BigInt(frame * PAGE), ZEROS);
    return frame;
  }

  #giveBack(frame: number): void {
    this.#used[frame] = 0;
    this.#free++;
    this.#stale[frame] = 1;
    this.#next = Math.min(this.#next, frame);
  }

  #write(table: number, index: number, entry: bigint): void {
    const b = new Uint8Array(8);
    new DataView(b.buffer).setBigUint64(0, entry, true);
    this.#machine.writePhys(BigInt(table * PAGE + index * 8), b);
  }

  /** The frame of the table of `level` (1 to 3) that covers a page. */
  #table(page: number, level: number): number {
    const index = Math.floor(page / 512 ** level);
    const known = this.#tables[level]?.get(index);
    if (known !== undefined) return known;
    const parent = level === 3 ? this.#root : this.#table(page, level + 1);
    const frame = this.#allocate();
    this.#write(parent, index % 512, BigInt(frame * PAGE) | P | RW | US | A);
    this.#tables[level]?.set(index, frame);
    return frame;
  }

  #setEntry(page: number, frame: number, prot: number): void {
    const rights =
      prot === 0
        ? 0n
        : P | US | A | (prot & PROT_WRITE ? RW | D : 0n) | (prot & PROT_EXEC ? 0n : NX);
    this.#write(this.#table(page, 1), page % 512, BigInt(frame * PAGE) | rights);
  }

  /** Gives a page a frame of zeros. Throws OutOfMemory. */
  populate(page: number, prot: number): number {
    this.#table(page, 1);
    const frame = this.#allocate(page);
    this.#setFrame(page, frame);
    this.#setEntry(page, frame, prot);
    return frame;
  }

  /** Changes the rights of a page. Answers whether it has a frame: then the TLB may know it. */
  protect(page: number, prot: number): boolean {
    const frame = this.frameOf(page);
    if (frame === undefined) return false;
    this.#setEntry(page, frame, prot);
    return true;
  }

  /** Takes a page's frame away. Answers whether it had one. */
  drop(page: number): boolean {
    const frame = this.frameOf(page);
    if (frame === undefined) return false;
    this.#write(this.#table(page, 1), page % 512, 0n);
    this.#setFrame(page, 0);
    this.#giveBack(frame);
    return true;
  }

  /** Moves a page's frame to another page, which has none. */
  move(from: number, to: number, prot: number): void {
    const frame = this.frameOf(from);
    if (frame === undefined) return;
    this.#table(to, 1);
    this.#write(this.#table(from, 1), from % 512, 0n);
    this.#setFrame(from, 0);
    this.#setFrame(to, frame);
    this.#setEntry(to, frame, prot);
  }

  /** The pages of [start, end) that have frames. */
  resident(start: number, end: number): readonly number[] {
    const out: number[] = [];
    const visit = (index: number, block: Uint32Array): void => {
      for (let i = 0; i < 512; i++) {
        const page = index * 512 + i;
        if (block[i] !== 0 && page >= start && page < end) out.push(page);
      }
    };
    const [first, last] = [Math.floor(start / 512), Math.floor((end - 1) / 512)];
    if (last - first > this.#frames.size) {
      for (const [index, block] of this.#frames) {
        if (index >= first && index <= last) visit(index, block);
      }
      return out;
    }
    for (let index = first; index <= last; index++) {
      const block = this.#frames.get(index);
      if (block !== undefined) visit(index, block);
    }
    return out;
  }
}
