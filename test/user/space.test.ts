// Pages on first touch: how many faults a program has that walks through memory, and that it gets no page more than it has.
import { describe, expect, it } from "vitest";
import { CORE } from "./cases.ts";
import { Machine } from "../../src/machine/index.ts";
import { PAGE, PROT_READ, PROT_WRITE } from "../../src/user/linux.ts";
import { AddressSpace } from "../../src/user/space.ts";

const BASE = 0x1000_0000n;
const PAGES = 1024;
const RW = PROT_READ | PROT_WRITE;
const at = (page: number): bigint => BASE + BigInt(page * PAGE);

function space(frames: number): AddressSpace {
  const m = new Machine({ core: CORE, ramBytes: frames * PAGE, nrVcpus: 1, stackAreas: [] });
  return new AddressSpace(m, 1, 2, frames);
}

/** Touches a page as a program does: whether it had to fault. */
function touch(s: AddressSpace, present: Set<number>, page: number): boolean {
  if (present.has(page)) return false;
  expect(s.fault(at(page), "write")).toBe("mapped");
  for (let p = 0; p < PAGES; p++) if (s.isResident(at(p))) present.add(p);
  expect(present.has(page)).toBe(true);
  return true;
}

describe("pages on first touch", () => {
  it("come more at a time to a program that walks upwards, and one by one to another", () => {
    const up = space(4096);
    up.map(BASE, BigInt(PAGES * PAGE), { prot: RW });
    const present = new Set<number>();
    let faults = 0;
    for (let p = 0; p < PAGES; p++) if (touch(up, present, p)) faults++;
    expect(faults).toBeLessThan(PAGES / 16);
    const down = space(4096);
    down.map(BASE, BigInt(PAGES * PAGE), { prot: RW });
    const one = new Set<number>();
    for (let p = PAGES - 1; p > PAGES - 20; p--) expect(touch(down, one, p)).toBe(true);
    expect(one.size).toBe(19);
  });

  it("stop at the end of a range and before a page that is there", () => {
    const s = space(4096);
    s.map(BASE, BigInt(40 * PAGE), { prot: RW });
    s.map(at(40), BigInt(40 * PAGE), { prot: PROT_READ });
    const present = new Set<number>();
    expect(touch(s, present, 20)).toBe(true);
    for (let p = 0; p < 20; p++) touch(s, present, p);
    expect([...present].filter((p) => p > 20)).toEqual([]);
    for (let p = 21; p < 40; p++) touch(s, present, p);
    expect([...present].filter((p) => p >= 40)).toEqual([]);
  });

  it("are not given ahead where memory is scarce: all that was promised can be touched", () => {
    const s = space(256);
    const own = s.limit;
    expect(s.map(BASE, BigInt(own * PAGE), { prot: RW })).toBe(true);
    expect(s.map(at(own), BigInt(PAGE), { prot: RW })).toBe(false);
    for (let p = 0; p < own; p += 3) s.reachable(at(p), 1, "write");
    const present = new Set<number>();
    for (let p = 0; p < own; p++) if (s.isResident(at(p))) present.add(p);
    for (let p = 0; p < own; p++) touch(s, present, p);
    expect(present.size).toBe(own);
  });
});
