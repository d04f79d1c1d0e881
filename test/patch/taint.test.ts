// What loading a module says of the kernel: the words of module_augment_kernel_taints(), once each, and before anything that
// the module does; and which module has which taint.
import { beforeAll, describe, expect, it } from "vitest";
import { readModules } from "../../src/kernel/index.ts";
import {
  initModule,
  MECHANISMS,
  moduleFlagsTaint,
  moduleSource,
  type ModuleWorld,
  type Request,
} from "../../src/patch/index.ts";
import type { BuiltScenario } from "../../src/scenario/index.ts";
import { Kernel } from "../kernel/programs.ts";
import { buildNamed } from "../scenario/files.ts";
import { ask, buildSteady, twoRequests } from "./steady.ts";

let built: BuiltScenario;
let first: Request;
let next: Request;
beforeAll(async () => {
  built = await buildSteady();
  ({ first, next } = await twoRequests(built));
});

const OUT_OF_TREE = "steady_patch: loading out-of-tree module taints kernel.";
const LIVEPATCH = "steady_patch: tainting kernel with TAINT_LIVEPATCH";

/** Everything that was said since the boot. */
const lines = (k: Kernel): readonly string[] => k.session.events().dmesg;
const ofTaints = (k: Kernel): readonly string[] => lines(k).filter((l) => l.includes("taint"));
const taints = (k: Kernel): readonly string[] =>
  readModules(k.session.read, k.image).map((m) => `${m.name} ${moduleFlagsTaint(m.taints)}`);

describe("a patch's module", () => {
  it.each([
    ["immediate", [OUT_OF_TREE, LIVEPATCH], "OK"],
    ["ksplice", [OUT_OF_TREE], "O"],
    ["kpatch", [OUT_OF_TREE, "kpatch: tainting kernel with TAINT_USER"], "O"],
    ["kgraft", [OUT_OF_TREE], "O"],
    ["simple", [OUT_OF_TREE], "O"],
    ["klp", [OUT_OF_TREE, LIVEPATCH], "OK"],
  ])(
    "under %s is not of the kernel's tree, which is said first, and once",
    (name, said, letters) => {
      const m = MECHANISMS[name];
      if (m === undefined) throw new Error(`no mechanism ${name}`);
      const k = new Kernel(built);
      expect(ask(k, m, "enable", first).result).toBe("applied");
      expect(ofTaints(k)).toEqual(said);
      expect(lines(k)[0]).toBe(OUT_OF_TREE);
      expect(taints(k)).toEqual([`steady_patch ${letters}`]);
      const mask = k.word("tainted_mask");
      // The next one has its taints, and says nothing of them.
      expect(ask(k, m, "enable", next).result).toBe("applied");
      expect(ofTaints(k)).toEqual(said);
      expect(taints(k)).toEqual([`steady_second ${letters}`, `steady_patch ${letters}`]);
      expect(k.word("tainted_mask")).toBe(mask);
    },
  );

  it("is named before livepatch says that it enables it", () => {
    const k = new Kernel(built);
    const m = MECHANISMS["klp"];
    if (m === undefined) throw new Error("no klp");
    expect(ask(k, m, "enable", first).result).toBe("applied");
    expect(lines(k).slice(0, 3)).toEqual([
      OUT_OF_TREE,
      LIVEPATCH,
      "livepatch: enabling patch 'steady_patch'",
    ]);
  });

  it("is named by kpatch when the patch is in force", () => {
    const k = new Kernel(built);
    const m = MECHANISMS["kpatch"];
    if (m === undefined) throw new Error("no kpatch");
    expect(ask(k, m, "enable", first).result).toBe("applied");
    expect(lines(k).slice(-2)).toEqual([
      "kpatch: tainting kernel with TAINT_USER",
      "kpatch: loaded patch module 'steady_patch'",
    ]);
  });
});

describe("a module by its .modinfo", () => {
  it("taints nothing if it says that it is of the kernel's tree", async () => {
    const livepatch = await buildNamed("livepatch");
    const obj = livepatch.modules["test_klp_callbacks_mod"];
    if (obj === undefined) throw new Error("no module");
    const modinfo = (text: string): typeof obj => ({
      ...obj,
      sections: [
        ...obj.sections.filter((s) => s.name !== ".modinfo"),
        ...obj.sections.slice(0, 1).map((s) => ({
          ...s,
          name: ".modinfo",
          bytes: new TextEncoder().encode(text),
          size: text.length,
        })),
      ],
    });
    const k = new Kernel(livepatch);
    const inTree = { ...moduleSource("here", modinfo("license=GPL\0intree=Y\0")), obj };
    const out = moduleSource("there", obj);
    const world: ModuleWorld = { image: k.image, sources: [inTree, out], notifiers: [] };
    expect(inTree.isInTree).toBe(true);
    expect(k.do(() => initModule(world, inTree))).toBe(0);
    expect(ofTaints(k)).toEqual([]);
    expect(taints(k)).toEqual(["here "]);
    expect(k.word("tainted_mask")).toBe(0n);
    expect(k.do(() => initModule(world, out))).toBe(0);
    expect(ofTaints(k)).toEqual(["there: loading out-of-tree module taints kernel."]);
    expect(taints(k)).toEqual(["there O", "here "]);
  });
});
