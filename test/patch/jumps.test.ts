// Patches that are jumps, on top of one another: ksplice follows its own trampolines and writes the next one over the
// replacement, simple has one jump over an entry and turns it. Under load, and out again in order.
import { beforeAll, describe, expect, it } from "vitest";
import { leftovers, takeInventory } from "../../src/check/index.ts";
import { readModules } from "../../src/kernel/index.ts";
import { ksplice } from "../../src/patch/ksplice.ts";
import type { Request } from "../../src/patch/index.ts";
import { unloadModule } from "../../src/patch/module.ts";
import { simple } from "../../src/patch/simple.ts";
import type { BuiltScenario } from "../../src/scenario/index.ts";
import { Kernel } from "../kernel/programs.ts";
import { ask, buildSteady, given, said, twoRequests } from "./steady.ts";

let built: BuiltScenario;
let first: Request;
let next: Request;
beforeAll(async () => {
  built = await buildSteady();
  ({ first, next } = await twoRequests(built));
});

const cases = [ksplice, simple].flatMap((m) => [1, 2, 4].map((n) => [m.name, n, m] as const));

describe.each(cases)("%s on %i vCPUs", (_, vcpus, m) => {
  it("stacks two patches under load, and takes them out in order: nothing is left", () => {
    const k = new Kernel(built, vcpus, vcpus);
    const text = k.session.text();
    const inventory = takeInventory(k.session);
    const now = (v: bigint): void => expect(given(k)).toEqual({ last: [v], mixtures: 0n });
    now(0x11n);
    expect(ask(k, m, "enable", first).result).toBe("applied");
    now(0x22n);
    expect(ask(k, m, "enable", next).result).toBe("applied");
    now(0x33n);
    expect(ask(k, m, "disable", next).result).toBe("applied");
    now(0x22n);
    expect(ask(k, m, "disable", first).result).toBe("applied");
    now(0x11n);
    expect(k.bugs()).toEqual([]);
    expect(k.session.text()).toEqual(text);
    expect(leftovers(inventory, takeInventory(k.session))).toEqual([]);
  });
});

describe.each([ksplice, simple].map((m) => [m.name, m] as const))("%s", (name, m) => {
  it("refuses a patch that was made without the one that is in force", () => {
    const k = new Kernel(built);
    expect(ask(k, m, "enable", first).result).toBe("applied");
    const text = k.session.text();
    const inventory = takeInventory(k.session);
    const { below: _, ...alone } = next;
    expect(k.do(() => m.enable(alone))).toMatchObject({
      result: "refused",
      reason: "steady_version: the running code is not the expected code",
    });
    expect(k.session.text()).toEqual(text);
    expect(leftovers(inventory, takeInventory(k.session))).toEqual([]);
    if (name === "ksplice") {
      expect(said(k)).toEqual([
        "ksplice: run-pre: could not match text section steady_version",
        "ksplice: run-pre: could not match text section steady_serve",
        "ksplice: Aborted.  run-pre: could not match some sections.",
        "ksplice: Continuing without some sections; we might find them later.",
        "ksplice: Failed to find steady_version for reloc",
        "ksplice: Aborted.  Unable to continue without the unmatched sections.",
      ]);
    }
  });

  it("does not take a patch out that another one lies on, nor lets its module go", () => {
    const k = new Kernel(built);
    ask(k, m, "enable", first);
    ask(k, m, "enable", next);
    const text = k.session.text();
    const inventory = takeInventory(k.session);
    expect(k.do(() => m.disable(first))).toMatchObject({
      result: "refused",
      reason:
        name === "ksplice"
          ? "update steady_patch is in use by another module"
          : "steady_version: the jump has been overwritten",
    });
    if (name === "ksplice") {
      expect(said(k)).toEqual([
        "ksplice: Preparing to reverse steady_patch",
        "ksplice: Update steady_patch is in use by another module",
      ]);
    }
    for (const { plan } of [first, next]) expect(k.do(() => unloadModule(k.image, plan))).toBe(-11);
    expect(readModules(k.session.read, k.image).map((x) => x.state)).toEqual(["live", "live"]);
    expect(k.session.text()).toEqual(text);
    expect(leftovers(inventory, takeInventory(k.session))).toEqual([]);
    expect(given(k)).toEqual({ last: [0x33n], mixtures: 0n });
  });
});

it("writes ksplice's second trampoline over the replacement, and simple's over the first", () => {
  const k = new Kernel(built);
  const entry = (r: Request): readonly number[] => {
    const f = r.plan.functions.find((x) => x.name === "steady_version");
    return [...k.session.machine.read(f?.newVa ?? 0n, 5)];
  };
  const before = k.session.text();
  ask(k, ksplice, "enable", first);
  const once = k.session.text();
  expect(once).not.toEqual(before);
  ask(k, ksplice, "enable", next);
  expect(k.session.text()).toEqual(once);
  expect(entry(first)[0]).toBe(0xe9);
  ask(k, ksplice, "disable", next);
  ask(k, ksplice, "disable", first);
  expect(k.session.text()).toEqual(before);
  ask(k, simple, "enable", first);
  ask(k, simple, "enable", next);
  expect(k.session.text()).not.toEqual(once);
  expect(entry(first)[0]).not.toBe(0xe9);
});
