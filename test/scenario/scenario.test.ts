// Scenario folders: what is accepted, what is refused and how, and that the shipped ones build.
import { beforeAll, describe, expect, test } from "vitest";
import { findSymbol } from "../../src/link/index.ts";
import type { BuiltScenario } from "../../src/scenario/index.ts";
import { loadScenario, ScenarioError } from "../../src/scenario/index.ts";
import { buildNamed, kernelFile } from "./files.ts";

/** kernels/ with one file replaced. */
function withFile(path: string, text: string | undefined) {
  return (p: string): string | undefined => (p === path ? text : kernelFile(p));
}

function changed(change: Record<string, unknown>): string {
  const json: unknown = JSON.parse(kernelFile("default/scenario.json") ?? "{}");
  return JSON.stringify({ ...(typeof json === "object" ? json : {}), ...change });
}

describe("loadScenario", () => {
  test("the default scenario loads with its kernel's files first, in Kbuild's order", () => {
    const s = loadScenario("default", kernelFile);
    expect(s.sources[0]?.name).toBe("base/head_64.S");
    expect(s.sources.at(-1)?.name).toBe("default/user.S");
    expect(Object.keys(s.includes).sort()).toEqual([
      "calling.inc",
      "kernel.inc",
      "kpatch-macros.inc",
      "ksplice-patch.inc",
      "linkage.inc",
      "user.inc",
      "xfer.inc",
    ]);
    expect(Object.isFrozen(s)).toBe(true);
  });

  test.each([
    ["an unknown key", { colour: "red" }, "colour"],
    ["nine vCPUs", { vcpus: 9 }, "vcpus"],
    ["a stack size that is no power of two", { threadSize: 5000 }, "threadSize"],
    ["a result that no mechanism has", { claims: { klp: { result: "good" } } }, "claims.klp"],
    ["a path instead of a name", { sources: ["../x.S"] }, "sources.0"],
  ])("%s is refused and named", (_, change, where) => {
    const files = withFile("default/scenario.json", changed(change));
    expect(() => loadScenario("default", files)).toThrow(ScenarioError);
    expect(() => loadScenario("default", files)).toThrow(where);
  });

  test("text that is not JSON, and a missing source, are refused with the file's name", () => {
    expect(() => loadScenario("default", withFile("default/scenario.json", "{"))).toThrow(
      "kernels/default/scenario.json",
    );
    expect(() => loadScenario("default", withFile("default/xfer.S", undefined))).toThrow(
      "kernels/default/xfer.S: no such file",
    );
    expect(() => loadScenario("nothing", kernelFile)).toThrow("kernels/nothing/scenario.json");
  });
});

describe.each(["default", "two-tasks"])("buildScenario(%s)", (name) => {
  let built: BuiltScenario;
  beforeAll(async () => {
    built = await buildNamed(name);
  });

  test("every name that the scenario mentions is a symbol of the image", () => {
    const { scenario, image } = built;
    for (const s of [...scenario.functions, ...scenario.results]) {
      expect(findSymbol(image, s), s).toBeDefined();
    }
    expect(image.entry).toBe(0xffff_ffff_8100_0000n);
  });

  test("the patch defines the functions it is said to replace, in the module room", () => {
    const { scenario, image, patch } = built;
    const room = findSymbol(image, "module_room");
    for (const f of scenario.functions) {
      const now = patch === undefined ? undefined : findSymbol(patch, f);
      expect((now?.va ?? 0n) - (room?.va ?? 0n), f).toBeLessThan(0x20_0000n);
      expect(now?.va).not.toBe(findSymbol(image, f)?.va);
    }
  });

  test("building it again gives the same image", async () => {
    const again = await buildNamed(name);
    expect(again.image.hash).toBe(built.image.hash);
    expect(again.patch?.hash).toBe(built.patch?.hash);
  });
});
