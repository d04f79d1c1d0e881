// Several kprobes at one address, on a fentry site and on an instruction: whose handlers are called, in which order, and
// what is left when one after the other goes.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { leftovers, takeInventory } from "../../src/check/index.ts";
import {
  kprobesModuleGoing,
  registerKprobe,
  registerKprobeAt,
  unregisterKprobeAt,
  type KprobeHandlers,
} from "../../src/ftrace/index.ts";
import { call, ERRNO, FTRACE_CONSTANTS, KPROBE, readField } from "../../src/kernel/index.ts";
import type { BuiltScenario } from "../../src/scenario/index.ts";
import { buildWith, Kernel } from "../kernel/programs.ts";

let built: BuiltScenario;
beforeAll(async () => {
  const text = readFileSync(join(import.meta.dirname, "probes.S"), "utf8");
  built = await buildWith("default", text);
});

const PLACES = ["probe_me", "probe_me_load"] as const;
const PRE = ["probe_pre", "probe_pre_other", "probe_pre_calls"] as const;

function add(k: Kernel, place: string, pre: string, post = ""): bigint {
  const handlers: KprobeHandlers = { pre: k.va(pre), post: post === "" ? 0n : k.va(post) };
  const r = k.do(() => registerKprobe(k.image, k.va(place), handlers));
  if (!r.ok) throw new Error(`not registered: ${r.error}`);
  return r.kprobe;
}

function remove(k: Kernel, kp: bigint): void {
  k.do(function* () {
    yield* unregisterKprobeAt(k.image, kp);
    yield* call("kfree", kp);
  });
}

/** Calls probe_me(7); the handlers that were called, in order. */
function called(k: Kernel, result = 26n): readonly string[] {
  const from = k.session.events().records.length;
  expect(k.do(() => call("probe_me", 7n))).toBe(result);
  const ids = k.session
    .events()
    .records.slice(from)
    .map((r) => r.id);
  return ids.map((id) => [...PRE, "probe_post"][id - 1] ?? "");
}

function watched(vcpus = 2): Kernel {
  const k = new Kernel(built, vcpus);
  [...PRE, "probe_post"].forEach((name, i) =>
    k.session.watch({ kind: "entry", lo: k.va(name), id: i + 1 }),
  );
  // The two ops keep a filter from their first probe on.
  for (const post of ["", "probe_post"]) remove(k, add(k, "probe_me", "probe_pre", post));
  return k;
}

describe.each(PLACES)("kprobes at %s", (place) => {
  test("are called in turn, the latest first, and go in any order: nothing is left", () => {
    const k = watched();
    const inventory = takeInventory(k.session);
    const text = k.session.text();
    const first = add(k, place, "probe_pre");
    const second = add(k, place, "probe_pre_other", "probe_post");
    expect(called(k)).toEqual(["probe_pre_other", "probe_pre", "probe_post"]);
    const third = add(k, place, "probe_pre");
    expect(called(k)).toEqual(["probe_pre", "probe_pre_other", "probe_pre", "probe_post"]);
    // A registered one again, as a member.
    expect(k.do(() => registerKprobeAt({ image: k.image }, second))).toBe(-ERRNO.EINVAL);
    remove(k, second);
    expect(called(k)).toEqual(["probe_pre", "probe_pre"]);
    remove(k, first);
    expect(called(k)).toEqual(["probe_pre"]);
    remove(k, third);
    expect(called(k)).toEqual([]);
    expect(k.word("kprobe_list")).toBe(0n);
    expect(k.session.text()).toEqual(text);
    expect(leftovers(inventory, takeInventory(k.session))).toEqual([]);
  });

  test("that go in the order in which they came give the place back with the last one", () => {
    const k = watched();
    const inventory = takeInventory(k.session);
    const all = [add(k, place, "probe_pre", "probe_post"), add(k, place, "probe_pre_other")];
    for (const kp of all) remove(k, kp);
    // Alone again, and once more together.
    const again = add(k, place, "probe_pre");
    expect(called(k)).toEqual(["probe_pre"]);
    const beside = add(k, place, "probe_pre_other", "probe_post");
    expect(called(k)).toEqual(["probe_pre_other", "probe_pre", "probe_post"]);
    for (const kp of [again, beside]) remove(k, kp);
    expect(leftovers(inventory, takeInventory(k.session))).toEqual([]);
  });

  test("end with the one that leads away: those behind it are not called", () => {
    const k = watched();
    add(k, place, "probe_pre", "probe_post");
    add(k, place, "probe_pre_leads_away");
    add(k, place, "probe_pre_other");
    expect(called(k, 12n)).toEqual(["probe_pre_other"]);
  });

  test("that are hit inside of a handler have all missed", () => {
    const k = watched();
    // probe_pre_calls calls probe_inner, where two others are.
    add(k, place, "probe_pre_calls");
    const inner = [add(k, "probe_inner", "probe_pre"), add(k, "probe_inner", "probe_pre_other")];
    expect(called(k)).toEqual(["probe_pre_calls"]);
    const missed = inner.map((kp) => readField(k.session.read, KPROBE, kp, "nmissed"));
    expect(missed).toEqual([1n, 1n]);
  });

  test("are gone together with the module that they are in", () => {
    const k = watched();
    const all = [add(k, place, "probe_pre"), add(k, place, "probe_pre_other")];
    const range = { va: 0n, base: k.va(place), size: 1 };
    k.do(() => kprobesModuleGoing(k.image, range));
    const gone = BigInt(FTRACE_CONSTANTS.KPROBE_FLAG_GONE);
    for (const kp of all) expect(readField(k.session.read, KPROBE, kp, "flags") & gone).toBe(gone);
    for (const kp of all) remove(k, kp);
    expect(k.word("kprobe_list")).toBe(0n);
  });
});

describe("a kprobe that others join and leave while its function is at work", () => {
  test.each([1, 2, 3])("is called every time (seed %i)", (seed) => {
    for (const offset of [0n, 5n]) {
      const k = new Kernel(built, 2, seed);
      const at = k.va("schedule_timeout") + offset;
      const handlers = (pre: string): KprobeHandlers => ({ pre: k.va(pre), post: 0n });
      expect(k.do(() => registerKprobe(k.image, at, handlers("probe_pre"))).ok).toBe(true);
      k.session.watch({ kind: "entry", lo: k.va("schedule_timeout") + 6n, id: 1 });
      const from = k.session.events().records.length;
      const before = k.word("probe_pre_hits");
      for (let i = 0; i < 8; i++) {
        const r = k.do(() => registerKprobe(k.image, at, handlers("probe_pre_other")));
        if (!r.ok) throw new Error(`not registered: ${r.error}`);
        k.run(700);
        remove(k, r.kprobe);
      }
      const entered = BigInt(k.session.events().records.length - from);
      expect(entered).toBeGreaterThan(8n);
      // Somebody may be between the probe and the instruction behind it at either end.
      const hits = k.word("probe_pre_hits") - before;
      expect(hits - entered).toBeGreaterThanOrEqual(-1n);
      expect(hits - entered).toBeLessThanOrEqual(2n);
      expect(k.word("probe_other_hits")).toBeGreaterThan(0n);
      expect(k.bugs()).toEqual([]);
    }
  });
});
