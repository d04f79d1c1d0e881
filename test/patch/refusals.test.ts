// Every mechanism against what it must not do: the same bad requests to each, what it answers and says, and a kernel that
// afterwards is as it was. What only livepatch knows (states, callbacks, force) is in bad-input.test.ts.
import { beforeAll, describe, expect, it } from "vitest";
import { leftovers, takeInventory } from "../../src/check/index.ts";
import { findSymbol } from "../../src/link/index.ts";
import {
  MECHANISMS,
  PatchError,
  planPatch,
  type Mechanism,
  type Outcome,
  type PatchPlan,
  type Request,
} from "../../src/patch/index.ts";
import type { BuiltScenario } from "../../src/scenario/index.ts";
import { buildWith, Kernel } from "../kernel/programs.ts";
import { anotherPatch } from "../scenario/files.ts";

const OWN = `
	.include "kernel.inc"
	.text
C_FUNC_START_NOTRACE tiny
	ret
SYM_FUNC_END tiny
`;

let built: BuiltScenario;
beforeAll(async () => {
  built = await buildWith("steady", OWN);
});

function requestOf(k: Kernel): Request {
  const { patch, scenario } = built;
  if (patch === undefined) throw new Error("steady has no patch");
  return { image: k.image, plan: planPatch(k.image, patch), hz: scenario.hz, unwinder: "fp" };
}

function mechanism(name: string): Mechanism {
  const m = MECHANISMS[name];
  if (m === undefined) throw new Error(`no mechanism ${name}`);
  return m;
}

/** What looks at stacks may find one busy: asked until it comes to something else. */
function settled(k: Kernel, name: string, what: "enable" | "disable", request: Request): Outcome {
  for (let tries = 1; ; tries++) {
    const r = k.do(() => mechanism(name)[what](request), 40_000_000);
    if (r.result !== "refused" || !r.reason.startsWith("busy") || tries === 20) return r;
  }
}

function said(k: Kernel): readonly string[] {
  return k.session.agent.state().logs.map((l) => l.text);
}

/** Asks once, and expects the kernel to be as it was; answers what it came to. */
function refused(k: Kernel, name: string, what: "enable" | "disable", request: Request): Outcome {
  const text = k.session.text();
  const inventory = takeInventory(k.session);
  const r = k.do(() => mechanism(name)[what](request), 40_000_000);
  expect(["refused", "failed"]).toContain(r.result);
  expect(k.session.text()).toEqual(text);
  expect(leftovers(inventory, takeInventory(k.session))).toEqual([]);
  expect(k.bugs()).toEqual([]);
  return r;
}

const JUMPING = ["ksplice", "simple"] as const;
const HOOKING = ["immediate", "kpatch", "kgraft", "klp"] as const;
const ALL = [...JUMPING, ...HOOKING];

/** A plan of one function. */
function only(plan: PatchPlan, change: Partial<PatchPlan["functions"][number]>): PatchPlan {
  const [f] = plan.functions;
  if (f === undefined) throw new Error("no function");
  return { ...plan, functions: [{ ...f, ...change }] };
}

describe("a patch whose expected old bytes differ", () => {
  it.each(JUMPING)("in the body of a function: %s refuses it by name", (name) => {
    const k = new Kernel(built);
    const request = requestOf(k);
    const f = request.plan.functions.find((x) => x.name === "steady_local");
    if (f === undefined) throw new Error("no steady_local");
    // mov eax, imm32: it answers something else than what the patch was made for.
    const at = f.oldVa + BigInt(f.oldText.indexOf(0xb8) + 1);
    k.session.machine.write(at, Uint8Array.of(9));
    expect(refused(k, name, "enable", request).reason).toBe(
      "steady_local: the running code is not the expected code",
    );
  });

  it.each(HOOKING)(
    "at its fentry site: ftrace shuts down, and %s leaves no module and no patch",
    (name) => {
      const k = new Kernel(built);
      const request = requestOf(k);
      const [f] = request.plan.functions;
      k.session.machine.write(f?.site ?? 0n, Uint8Array.of(0x66, 0x66, 0x66, 0x66, 0x90));
      const inventory = takeInventory(k.session);
      const r = k.do(() => mechanism(name).enable(request));
      expect(["refused", "failed"]).toContain(r.result);
      expect(r.reason).toContain("(-19)");
      expect(k.word("ftrace_disabled", 4)).toBe(1n);
      // What ftrace itself keeps stays: it is not asked any more.
      const left = leftovers(inventory, takeInventory(k.session));
      expect(left.filter((l) => !/ftrace|slabs|module_room/.test(l))).toEqual([]);
    },
  );
});

describe("a patch that needs more than the function has", () => {
  it.each(JUMPING)("room for a jump: %s refuses it by name", (name) => {
    const k = new Kernel(built);
    const request = requestOf(k);
    const tiny = findSymbol(k.image, "tiny")?.va ?? 0n;
    const plan = only(request.plan, { name: "tiny", oldVa: tiny, jumpVa: tiny, oldSize: 1 });
    expect(refused(k, name, "enable", { ...request, plan })).toMatchObject({
      result: "refused",
      reason: "tiny: shorter than the 5 bytes of a jump",
    });
  });

  it.each(["kpatch", "kgraft"])("a fentry site: %s refuses it by name", (name) => {
    const k = new Kernel(built);
    const request = requestOf(k);
    const plan = only(request.plan, { name: "tiny", site: undefined });
    expect(refused(k, name, "enable", { ...request, plan })).toMatchObject({
      result: "refused",
      reason: "tiny: no fentry site to hook",
    });
  });

  it.each(["immediate", "klp"])("a fentry site: %s finds no location, -EINVAL", (name) => {
    const k = new Kernel(built);
    const request = requestOf(k);
    const plan = only(request.plan, { name: "tiny", site: undefined });
    const r = refused(k, name, "enable", { ...request, plan });
    expect(r.reason).toContain("(-22)");
    expect(said(k)).toContain("livepatch: failed to find location for function 'tiny'");
  });
});

describe("a patch of something that is not there", () => {
  it("is refused when it is planned, whoever is to apply it", async () => {
    const text = `
	.include "kernel.inc"
	.text
C_FUNC_START no_such_function
	FRAME_END
	ret
SYM_FUNC_END no_such_function
`;
    const module = await anotherPatch(built, "steady/absent.S", text);
    expect(() => planPatch(built.image, module)).toThrow(PatchError);
    expect(() => planPatch(built.image, module)).toThrow(
      /no_such_function is no function of steady/,
    );
  });
});

describe("a patch that is loaded twice", () => {
  it.each(ALL)("is refused by the loader the second time, under %s", (name) => {
    const k = new Kernel(built);
    const request = requestOf(k);
    expect(settled(k, name, "enable", request).result).toBe("applied");
    const second = refused(k, name, "enable", request);
    // immediate takes the module as it is, and livepatch knows its patch.
    expect(second.reason).toBe(
      name === "immediate"
        ? "the functions could not be redirected (-17)"
        : "could not insert module steady_patch: File exists",
    );
    expect(settled(k, name, "disable", request).result).toBe("applied");
  });

  it.each(ALL)("is refused while it is in force by another mechanism: %s", (name) => {
    const k = new Kernel(built);
    const request = requestOf(k);
    const other = name === "kgraft" ? "klp" : "kgraft";
    expect(settled(k, other, "enable", request).result).toBe("applied");
    if (name === "immediate" && other === "kgraft") {
      // The module is there, and the functions are somebody else's.
      expect(refused(k, name, "enable", request).reason).toContain("(-16)");
    } else {
      expect(refused(k, name, "enable", request).reason).toContain("File exists");
    }
  });
});

describe("a patch that is not in force", () => {
  it.each(ALL)("is not disabled by %s", (name) => {
    const k = new Kernel(built);
    const r = refused(k, name, "disable", requestOf(k));
    expect(r.reason).toMatch(/not in force|already reverted|could not be disabled \(-2\)/);
    if (name === "kgraft") {
      expect(said(k)).toEqual(["kgr: can't patch, this one was already reverted"]);
    }
  });
});

describe("another patch system's function", () => {
  it.each([
    ["kpatch", "kgraft"],
    ["kgraft", "kpatch"],
    ["klp", "kgraft"],
    ["immediate", "kpatch"],
    ["simple", "klp"],
    ["ksplice", "kgraft"],
  ])("is not touched by %s while %s has it", async (name, other) => {
    const k = new Kernel(built);
    const request = requestOf(k);
    const { patch } = built;
    const text = built.scenario.patch?.text ?? "";
    const module = await anotherPatch(built, "steady/other.S", text, patch);
    expect(settled(k, other, "enable", request).result).toBe("applied");
    const r = refused(k, name, "enable", { ...request, plan: planPatch(k.image, module) });
    if (name === "simple" || name === "ksplice") expect(r.reason).toMatch(/not the expected code$/);
    else expect(r.reason).toContain("(-16)");
  });
});

describe("kgraft, while another patch is in progress", () => {
  it("neither applies nor reverts: it says that patching is not finalized", async () => {
    const stuck = await buildWith("stuck");
    const { patch, scenario } = stuck;
    if (patch === undefined) throw new Error("stuck has no patch");
    const k = new Kernel(stuck);
    const first: Request = {
      image: k.image,
      plan: planPatch(k.image, patch),
      hz: scenario.hz,
      unwinder: "fp",
    };
    const kgraft = mechanism("kgraft");
    // Its kernel thread has no annotated point: it stays in progress for ever.
    k.session.request(() => kgraft.enable(first));
    k.run(400_000);
    expect(k.session.agent.outcome).toBeUndefined();
    expect(k.word("kgr_in_progress", 4)).toBe(1n);
    const module = await anotherPatch(stuck, "stuck/second.S", patchText(stuck), patch);
    k.session.agent.clear();
    const second = { ...first, plan: planPatch(k.image, module) };
    for (const [what, request] of [
      ["enable", second],
      ["disable", first],
    ] as const) {
      expect(refused(k, "kgraft", what, request)).toMatchObject({
        result: "refused",
        reason: "another patching not yet finalized",
      });
      expect(said(k)).toEqual(["kgr: can't patch, another patching not yet finalized"]);
    }
  });
});

function patchText({ scenario }: BuiltScenario): string {
  return scenario.patch?.text ?? "";
}
