// The address space of the program: what is mapped with which rights, pages given on first touch, and copies between
// host and program that respect the rights, as copy_from_user does. The rules are the kernel's mm/; the page tables
// are in frames.ts. DIFFERS: no overcommit: what may be written counts against the memory given, as with
// vm.overcommit_memory = 2.
import type { Machine } from "../machine/index.ts";
import { OutOfMemory, PageTables } from "./frames.ts";
import { MMAP_MIN_ADDR, PAGE, PROT_EXEC, PROT_READ, PROT_WRITE, TASK_SIZE } from "./linux.ts";
import { VmaList, type Vma } from "./vma.ts";

/** Where mmap starts to look, downwards, is so much above here as there is memory, less MMAP_APART: near the end of the window. */
const MMAP_BASE = 0x7ffe_0000_0000n;
/** Pages by which mappings begin apart from where the stack begins, in the order of a direct-mapped TLB. */
const MMAP_APART = 64;
/**
 * The stack of RLIMIT_STACK bytes, aligned to its size so that the machine can keep its shadow, and where its top is in the
 * window of the smallest memory and above what a small program is.
 */
export const STACK_TOP = 0x7fff_0100_0000n;
export const STACK_SIZE = 0x80_0000n;
/** stack_guard_gap: nothing is mapped so near below the stack. */
const STACK_GAP = 256;

export type Access = "read" | "write" | "exec";
/** How a page fault ends; `mapped` means that the instruction can be tried again. */
export type FaultResult = "mapped" | "maperr" | "accerr" | "oom";

export interface MapOptions {
  readonly prot: number;
  readonly noReserve?: boolean;
  readonly anonymous?: boolean;
}

/** The most pages that one fault gives when faults follow each other upwards. */
const MOST_AHEAD = 32;

const pageOf = (va: bigint): number => Number(va >> 12n);
const PAGES_OF = { low: pageOf(MMAP_MIN_ADDR), top: pageOf(TASK_SIZE), mmap: pageOf(MMAP_BASE) };
const STACK_PAGES = { start: pageOf(STACK_TOP - STACK_SIZE), end: pageOf(STACK_TOP) };

export class AddressSpace {
  readonly #machine: Machine;
  readonly #tables: PageTables;
  readonly #vmas = new VmaList();
  readonly #limit: number;
  readonly #mmapTop: number;
  #committed = 0;
  /** Where the next fault comes when a program walks through memory, and how many pages the last one gave. */
  #expected = -1;
  #window = 1;

  constructor(machine: Machine, root: number, firstFrame: number, nrFrames: number) {
    this.#machine = machine;
    this.#tables = new PageTables(machine, root, firstFrame, nrFrames);
    // Page tables take one frame for 512 pages; some are kept for them and for the stack.
    this.#mmapTop = PAGES_OF.mmap + nrFrames - MMAP_APART;
    this.#limit = nrFrames - firstFrame - Math.ceil(nrFrames / 128) - 16;
  }

  /** Pages that can be promised to the program. */
  get limit(): number {
    return this.#limit;
  }

  #flush(): void {
    this.#machine.setReg(0, "cr3", this.#machine.reg(0, "cr3"));
  }

  #count(start: number, end: number): number {
    let n = 0;
    for (const v of this.#vmas.within(start, end)) if (v.account) n += v.end - v.start;
    return n;
  }

  /**
   * Maps [va, va + bytes) as fresh zeros over whatever is there. Both are multiples of a page.
   *
   * returns  false when that is more memory than the program may have
   */
  map(va: bigint, bytes: bigint, options: MapOptions): boolean {
    const start = pageOf(va);
    const end = pageOf(va + bytes);
    const account = options.noReserve !== true && (options.prot & PROT_WRITE) !== 0;
    const gone = this.#count(start, end);
    const more = account ? end - start : 0;
    if (this.#committed - gone + more > this.#limit) return false;
    this.#drop(start, end);
    this.#committed += more - gone;
    const { prot, anonymous = true } = options;
    this.#vmas.put({ start, end, prot, account, anonymous });
    return true;
  }

  /** Maps the stack: it may be touched everywhere and is paid for by the page. */
  mapStack(prot: number): void {
    this.#vmas.put({ ...STACK_PAGES, prot, account: false, anonymous: true });
  }

  /** Takes [va, va + bytes) out. */
  unmap(va: bigint, bytes: bigint): void {
    const start = pageOf(va);
    const end = pageOf(va + bytes);
    this.#committed -= this.#count(start, end);
    this.#drop(start, end);
    this.#vmas.remove(start, end);
  }

  #drop(start: number, end: number): void {
    let any = false;
    for (const page of this.#tables.resident(start, end)) any = this.#tables.drop(page) || any;
    if (any) this.#flush();
  }

  /** Forgets the content of anonymous pages: they read as zeros again. */
  discard(va: bigint, bytes: bigint): void {
    for (const v of this.#vmas.within(pageOf(va), pageOf(va + bytes))) {
      if (v.anonymous) this.#drop(v.start, v.end);
    }
  }

  /** Changes rights up to the first hole. */
  protect(va: bigint, bytes: bigint, prot: number): "ok" | "hole" | "nomem" {
    const end = pageOf(va + bytes);
    let at = pageOf(va);
    let any = false;
    let result: "ok" | "nomem" = "ok";
    for (const v of this.#vmas.within(at, end)) {
      if (v.start !== at) break;
      const account = v.account || (prot & PROT_WRITE) !== 0;
      const more = account && !v.account ? v.end - v.start : 0;
      if (this.#committed + more > this.#limit) {
        result = "nomem";
        break;
      }
      this.#committed += more;
      this.#vmas.put({ ...v, prot, account });
      for (const page of this.#tables.resident(v.start, v.end)) {
        any = this.#tables.protect(page, prot) || any;
      }
      at = v.end;
    }
    if (any) this.#flush();
    return result === "nomem" ? result : at < end ? "hole" : "ok";
  }

  /** Moves or grows [from, from + bytes), one range with equal rights, to `to` of `newBytes`. False: no memory. */
  move(from: bigint, bytes: bigint, to: bigint, newBytes: bigint): boolean {
    const v = this.#vmas.find(pageOf(from));
    if (v === undefined) return false;
    const more = v.account ? Number((newBytes - bytes) >> 12n) : 0;
    if (this.#committed + more > this.#limit) return false;
    const [start, end, at] = [pageOf(from), pageOf(from + bytes), pageOf(to)];
    const pages = this.#tables.resident(start, end);
    for (const page of pages) this.#tables.move(page, at + (page - start), v.prot);
    this.#vmas.remove(start, end);
    this.#vmas.put({ ...v, start: at, end: pageOf(to + newBytes) });
    this.#committed += more;
    this.#flush();
    return true;
  }

  /** Grows the range that ends at `end` by the pages up to `newEnd`, which are free. False: no memory. */
  extend(end: bigint, newEnd: bigint): boolean {
    const v = this.#vmas.find(pageOf(end) - 1);
    if (v === undefined) return false;
    const more = v.account ? pageOf(newEnd) - pageOf(end) : 0;
    if (this.#committed + more > this.#limit) return false;
    this.#committed += more;
    this.#vmas.put({ ...v, start: pageOf(end), end: pageOf(newEnd) });
    return true;
  }

  /** Whether [va, va + bytes) is user space and nothing is mapped there, nor the gap below the stack. */
  isFree(va: bigint, bytes: bigint): boolean {
    if (va < MMAP_MIN_ADDR || va + bytes > TASK_SIZE) return false;
    const [start, end] = [pageOf(va), pageOf(va + bytes)];
    const nearStack = end > STACK_PAGES.start - STACK_GAP && start < STACK_PAGES.end;
    return !nearStack && this.#vmas.isFree(start, end);
  }

  /** Whether every page of [va, va + bytes) is mapped. */
  isMapped(va: bigint, bytes: bigint): boolean {
    const [start, end] = [pageOf(va), pageOf(va + bytes)];
    const pages = this.#vmas.within(start, end).reduce((n, v) => n + v.end - v.start, 0);
    return pages === end - start;
  }

  /** Whether no page of [va, va + bytes) is a file's. */
  isAnonymous(va: bigint, bytes: bigint): boolean {
    return this.#vmas.within(pageOf(va), pageOf(va + bytes)).every((v) => v.anonymous);
  }

  /** A free range for `bytes`, as high as possible below the stack. */
  findGap(bytes: bigint): bigint | undefined {
    return this.#gap(this.#mmapTop, PAGES_OF.low, bytes);
  }

  /** One in [start, end), as high as possible. */
  findGapIn(start: bigint, end: bigint, bytes: bigint): bigint | undefined {
    return this.#gap(pageOf(end), pageOf(start), bytes);
  }

  #gap(top: number, bottom: number, bytes: bigint): bigint | undefined {
    const found = this.#vmas.gapBelow(top, bottom, Number(bytes >> 12n));
    return found === undefined ? undefined : BigInt(found) << 12n;
  }

  /** The mapped range that [va, va + bytes) lies in as a whole. */
  rangeOf(va: bigint, bytes: bigint): Vma | undefined {
    const v = this.#vmas.find(pageOf(va));
    return v !== undefined && BigInt(v.end) << 12n >= va + bytes ? v : undefined;
  }

  /** Whether the page of `va` has been given a frame. */
  isResident(va: bigint): boolean {
    return this.#tables.frameOf(pageOf(va)) !== undefined;
  }

  /** Answers a page fault: a page on first touch, or why not. */
  fault(va: bigint, access: Access): FaultResult {
    const page = pageOf(va);
    const v = page < PAGES_OF.top ? this.#vmas.find(page) : undefined;
    if (v === undefined) return "maperr";
    if (!allows(v.prot, access)) return "accerr";
    if (this.#tables.frameOf(page) !== undefined) {
      throw new Error(`a fault at 0x${va.toString(16)}, where a page is mapped that allows it`);
    }
    try {
      this.#tables.populate(page, v.prot);
      this.#walkOn(page, v);
    } catch (e) {
      if (e instanceof OutOfMemory) return "oom";
      throw e;
    }
    return "mapped";
  }

  /**
   * Gives the pages behind the one that was just given, twice as many each time that the program goes on where it was
   * given no more. What it cannot see, the number of faults, is all that this changes; while memory is scarce it is not done.
   */
  #walkOn(page: number, v: Vma): void {
    const follows = page === this.#expected;
    this.#window = follows ? Math.min(this.#window * 2, MOST_AHEAD) : 1;
    let next = page + 1;
    const end = Math.min(page + this.#window, v.end);
    if (this.#tables.nrFree() > this.#limit / 16) {
      while (next < end && this.#tables.frameOf(next) === undefined) {
        this.#tables.populate(next++, v.prot);
      }
    }
    this.#expected = next;
  }

  /** The frame behind a page that allows the access, given now if it must be. */
  #frame(page: number, access: Access): number | undefined {
    const v = page >= 0 && page < PAGES_OF.top ? this.#vmas.find(page) : undefined;
    if (v === undefined || !allows(v.prot, access)) return undefined;
    try {
      return this.#tables.frameOf(page) ?? this.#tables.populate(page, v.prot);
    } catch (e) {
      if (e instanceof OutOfMemory) return undefined;
      throw e;
    }
  }

  /** How many bytes from `va` on allow the access, at most `n`. */
  reachable(va: bigint, n: number, access: Access): number {
    let done = 0;
    while (done < n) {
      const at = va + BigInt(done);
      if (at >= TASK_SIZE || this.#frame(pageOf(at), access) === undefined) break;
      done += PAGE - Number(at & 0xfffn);
    }
    return Math.min(done, n);
  }

  /** Reads the program's memory; undefined is EFAULT. */
  read(va: bigint, n: number): Uint8Array | undefined {
    if (this.reachable(va, n, "read") < n) return undefined;
    const out = new Uint8Array(n);
    this.#each(va, n, "read", (pa, at, room) => out.set(this.#machine.readPhys(pa, room), at));
    return out;
  }

  /** Writes the program's memory, all or nothing; false is EFAULT. */
  write(va: bigint, bytes: Uint8Array): boolean {
    if (this.reachable(va, bytes.length, "write") < bytes.length) return false;
    this.#copyIn(va, bytes, "write");
    return true;
  }

  /** Writes where the program itself may not, for the loader. Throws OutOfMemory. */
  load(va: bigint, bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += PAGE) {
      const page = pageOf(va + BigInt(at));
      const prot = this.#vmas.find(page)?.prot ?? 0;
      const frame = this.#tables.frameOf(page) ?? this.#tables.populate(page, prot);
      this.#machine.writePhys(BigInt(frame * PAGE), bytes.subarray(at, at + PAGE));
    }
  }

  #copyIn(va: bigint, bytes: Uint8Array, access: Access): void {
    this.#each(va, bytes.length, access, (pa, at, room) =>
      this.#machine.writePhys(pa, bytes.subarray(at, at + room)),
    );
  }

  #each(
    va: bigint,
    n: number,
    access: Access,
    visit: (pa: bigint, at: number, room: number) => void,
  ): void {
    for (let at = 0; at < n;) {
      const here = va + BigInt(at);
      const offset = Number(here & 0xfffn);
      const room = Math.min(n - at, PAGE - offset);
      const frame = this.#frame(pageOf(here), access);
      if (frame === undefined) throw new Error("an address was checked and is not reachable");
      visit(BigInt(frame * PAGE + offset), at, room);
      at += room;
    }
  }
}

/** x86 has no page that can be written or executed but not read. */
function allows(prot: number, access: Access): boolean {
  if (access === "write") return (prot & PROT_WRITE) !== 0;
  if (access === "exec") return (prot & PROT_EXEC) !== 0;
  return (prot & (PROT_READ | PROT_WRITE | PROT_EXEC)) !== 0;
}
