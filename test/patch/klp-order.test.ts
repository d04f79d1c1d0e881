// The order in which livepatch changes the words of a transition, which its handler and the tasks' own switches count on, and what a
// transition that is forced keeps. kernel: kernel/livepatch/transition.c, klp_reverse_transition(), klp_complete_transition().
import { beforeAll, describe, expect, it } from "vitest";
import { CONSTANTS, fieldVa, KLP_FUNC, symbolVa, TASK, TIF } from "../../src/kernel/index.ts";
import {
  enabledStore,
  forceStore,
  klpEnablePatch,
  transitionWork,
} from "../../src/patch/klp/core.ts";
import { makePatch, systemOf } from "../../src/patch/klp/klp.ts";
import { readPatches, readTransition } from "../../src/patch/klp/view.ts";
import { findModule, loadModule, unloadModule } from "../../src/patch/module.ts";
import type { BuiltScenario } from "../../src/scenario/index.ts";
import { Kernel } from "../kernel/programs.ts";
import { build, requestOf } from "./victim.ts";

let loaded: BuiltScenario;
beforeAll(async () => {
  loaded = await build(60);
});

/** What happens to the words of a transition, in order: stores of patchd, runs of equal ones once, and klp_sync on a CPU. */
function ordered(k: Kernel, go: () => void): readonly string[] {
  const { session } = k;
  const { image, read } = session;
  const out: string[] = [];
  const say = (what: string): void => {
    if (out.at(-1) !== what) out.push(what);
  };
  const bases = session.tasks().map((t) => t.va);
  const tasks = new Set(bases.map((va) => fieldVa(TASK, va, "patch_state")));
  const flags = new Set(bases.map((va) => fieldVa(TASK, va, "TI_flags")));
  const funcs = new Set(
    readPatches(read, image).flatMap((p) =>
      p.objects.flatMap((o) => o.funcs.map((f) => fieldVa(KLP_FUNC, f.va, "transition"))),
    ),
  );
  const target = symbolVa(image, "klp_target_state");
  const word = (bytes: Uint8Array): number => new DataView(bytes.buffer).getInt32(0, true);
  session.agent.onWrite = ({ va, bytes }) => {
    if (tasks.has(va)) say(`patch_state ${word(bytes)}`);
    else if (funcs.has(va)) say(`transition ${bytes[0]}`);
    else if (va === target) say(`target ${word(bytes)}`);
    else if (flags.has(va)) {
      say(((word(bytes) >> TIF.PATCH_PENDING) & 1) === 1 ? "pending set" : "pending cleared");
    }
  };
  session.watch({ kind: "stop", lo: k.va("klp_sync"), id: 3 });
  session.onStop = (id, vcpu) => void (id === 3 && out.push(`sync on ${vcpu}`));
  go();
  session.agent.onWrite = undefined;
  session.onStop = undefined;
  return out;
}

describe("the order of the words", () => {
  const begun = (): { k: Kernel; system: ReturnType<typeof systemOf>; name: string } => {
    const k = new Kernel(loaded);
    const request = requestOf(loaded);
    const system = systemOf(request);
    k.run(4000);
    expect(k.do(() => loadModule(loaded.image, request.plan, true))).toBe(0);
    const made = k.do(() => makePatch(request));
    expect(k.do(() => klpEnablePatch(system, made)).error).toBe(0);
    expect(readTransition(k.session.read, k.image)).toMatchObject({ target: 1 });
    return { k, system, name: request.plan.name };
  };
  const syncs = ["sync on 0", "sync on 1"];
  const isSync = (s: string): boolean => s.startsWith("sync");

  it("of a reversal, either way: no flag is set while every CPU goes through klp_sync and the target turns", () => {
    const { k, system, name } = begun();
    for (const [to, line] of [
      [0, "patching to unpatching"],
      [1, "unpatching to patching"],
    ] as const) {
      const all = ordered(k, () => {
        expect(k.do(() => enabledStore(system, name, to === 1)).error).toBe(0);
      });
      const at = all.indexOf(`target ${to}`);
      expect(at).toBeGreaterThan(0);
      expect(all.slice(0, at).filter((s) => !isSync(s))).toEqual(["pending cleared"]);
      expect(all.slice(0, at).filter(isSync).toSorted()).toEqual(syncs);
      expect(all.indexOf("pending cleared")).toBeLessThan(all.findIndex(isSync));
      expect(all[at + 1]).toBe("pending set");
      const said = k.session.agent.state().logs.map((l) => l.text);
      expect(said).toContain(`livepatch: '${name}': reversing transition from ${line}`);
    }
  });

  it("of a transition that is complete: the functions are out of it before every CPU goes through klp_sync, the states idle after", () => {
    const { k, system } = begun();
    k.run(40_000);
    const all = ordered(k, () => {
      for (let i = 0; readTransition(k.session.read, k.image).patch !== 0n; i++) {
        if (i === 60) throw new Error("the transition does not end");
        k.run(4000);
        k.do(() => transitionWork(system));
      }
    });
    const at = all.indexOf("transition 0");
    expect(all.slice(at).filter((s) => !isSync(s))).toEqual([
      "transition 0",
      "patch_state -1",
      "target -1",
    ]);
    const done = all.indexOf("patch_state -1");
    expect(all.slice(at, done).filter(isSync).toSorted()).toEqual(syncs);
  });
});

describe("a transition that is forced", () => {
  it("on the way out keeps the module for ever: the patch is gone, its reference is not", () => {
    const k = new Kernel(loaded);
    const request = requestOf(loaded);
    const system = systemOf(request);
    k.run(4000);
    expect(k.do(() => loadModule(loaded.image, request.plan, true))).toBe(0);
    const made = k.do(() => makePatch(request));
    expect(k.do(() => klpEnablePatch(system, made)).error).toBe(0);
    expect(k.do(() => enabledStore(system, request.plan.name, false)).error).toBe(0);
    expect(readTransition(k.session.read, k.image)).toMatchObject({ target: 0 });
    expect(k.do(() => forceStore(system, request.plan.name, true)).error).toBe(0);
    k.do(() => transitionWork(system));
    expect(readPatches(k.session.read, k.image)).toEqual([]);
    expect(k.do(() => unloadModule(loaded.image, request.plan))).toBe(-CONSTANTS.EAGAIN);
    expect(k.do(() => findModule(loaded.image, request.plan))).toMatchObject({ state: "live" });
  });
});
