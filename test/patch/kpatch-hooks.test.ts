// What a patch may ask of kpatch's core module: functions to be called when it goes in and out, with the machine stopped, and
// functions that are changed although somebody is in them. And what the module says.
import { describe, expect, it } from "vitest";
import { leftovers, takeInventory } from "../../src/check/index.ts";
import { readModules } from "../../src/kernel/index.ts";
import { findSymbol } from "../../src/link/index.ts";
import { kpatch } from "../../src/patch/kpatch.ts";
import { unloadModule } from "../../src/patch/module.ts";
import { Kernel } from "../kernel/programs.ts";
import { ask, buildSteady, given, PATCH, requestOf, said, twoRequests } from "./steady.ts";

const NAME = "steady_patch";

/** Each notes whether interrupts are on and the last function of the hash. */
const HOOKS = `
	.include "kpatch-macros.inc"
	.text
.macro HOOK name
C_FUNC_START_LOCAL \\name
	pushfq
	popq	%rax
	andl	$X86_EFLAGS_IF, %eax
	movl	%eax, \\name\\()_flags(%rip)
	movq	kpatch_func_hash, %rax
	movq	%rax, \\name\\()_hash(%rip)
	incl	\\name\\()_calls(%rip)
	FRAME_END
	ret
SYM_FUNC_END \\name
	.pushsection .data
SYM_DATA_START \\name\\()_flags
	.long	-1
SYM_DATA_END \\name\\()_flags
SYM_DATA_START \\name\\()_calls
	.long	0
SYM_DATA_END \\name\\()_calls
SYM_DATA_START \\name\\()_hash
	.quad	0
SYM_DATA_END \\name\\()_hash
	.popsection
.endm
	HOOK	on_load
	HOOK	on_unload
	KPATCH_LOAD_HOOK on_load
	KPATCH_UNLOAD_HOOK on_unload
`;

const FORCE = `
	.include "kpatch-macros.inc"
	KPATCH_FORCE_UNSAFE steady_version
	KPATCH_FORCE_UNSAFE steady_serve
	KPATCH_FORCE_UNSAFE steady_local
`;

describe("load and unload hooks", () => {
  it("are called once each, with the machine stopped, when the functions have changed", async () => {
    const plain = await buildSteady();
    const hash = findSymbol(plain.image, "kpatch_func_hash")?.va ?? 0n;
    const built = await buildSteady(`	.set	kpatch_func_hash, ${hash}\n${PATCH}${HOOKS}`);
    const request = requestOf(built, built.patch);
    const k = new Kernel(built);
    const word = (name: string): bigint =>
      k.session.machine.read64(findSymbol(request.plan.module, name)?.va ?? 0n);
    const long = (name: string): bigint => word(name) & 0xffffffffn;
    expect(ask(k, kpatch, "enable", request).result).toBe("applied");
    expect([long("on_load_calls"), long("on_load_flags")]).toEqual([1n, 0n]);
    expect(word("on_load_hash")).toBe(k.word("kpatch_func_hash"));
    expect([long("on_unload_calls"), long("on_unload_flags")]).toEqual([0n, 0xffffffffn]);
    expect(ask(k, kpatch, "disable", request).result).toBe("applied");
    expect([long("on_unload_calls"), long("on_unload_flags")]).toEqual([1n, 0n]);
    expect([word("on_unload_hash"), long("on_load_calls")]).toEqual([0n, 1n]);
    expect(k.bugs()).toEqual([]);
  });
});

describe("functions that are forced", () => {
  it("are changed whoever is in them, and the module stays for ever", async () => {
    const free = await buildSteady();
    const forced = await buildSteady(`${PATCH}${FORCE}`);
    let waited = 0;
    for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
      // Somebody is in steady_serve at one of the moments: without force that is a try.
      const slow = new Kernel(free, 2, seed);
      const request = requestOf(free, free.patch);
      const tries = slow.do(() => kpatch.enable(request), 40_000_000);
      if (tries.result === "refused" || said(slow).some((l) => l.includes("activeness"))) waited++;
      const k = new Kernel(forced, 2, seed);
      const own = requestOf(forced, forced.patch);
      expect(k.do(() => kpatch.enable(own), 40_000_000).result).toBe("applied");
      expect(said(k)).toEqual([`kpatch: loaded patch module '${NAME}'`]);
      expect(given(k).last).toEqual([0x22n]);
      expect(ask(k, kpatch, "disable", own).result).toBe("applied");
      expect(k.do(() => unloadModule(k.image, own.plan))).toBe(-11);
      expect(readModules(k.session.read, k.image).map((m) => m.state)).toEqual(["live"]);
      expect(given(k).last).toEqual([0x11n]);
    }
    expect(waited).toBeGreaterThan(0);
  });
});

describe("what is said", () => {
  it("names the patch that goes in, those that it replaces, and the one that goes out", async () => {
    const built = await buildSteady();
    const { first, next } = await twoRequests(built);
    const k = new Kernel(built);
    const of = (what: "enable" | "disable", request: typeof first): readonly string[] => {
      expect(ask(k, kpatch, what, request).result).toBe("applied");
      return said(k).filter((l) => l.includes("patch module"));
    };
    expect(of("enable", first)).toEqual([`kpatch: loaded patch module '${NAME}'`]);
    expect(of("enable", { ...next, replace: true })).toEqual([
      `kpatch: unloaded patch module '${NAME}'`,
      "kpatch: loaded patch module 'steady_second'",
    ]);
    expect(of("disable", next)).toEqual(["kpatch: unloaded patch module 'steady_second'"]);
  });

  it("is the site that another one has, when the handler cannot be registered", async () => {
    const built = await buildSteady();
    const { first, next } = await twoRequests(built);
    const { kgraft } = await import("../../src/patch/kgraft.ts");
    const k = new Kernel(built);
    expect(ask(k, kgraft, "enable", first).result).toBe("applied");
    const text = k.session.text();
    const inventory = takeInventory(k.session);
    const r = k.do(() => kpatch.enable(next));
    expect(r).toMatchObject({ result: "refused", reason: "the functions cannot be hooked (-16)" });
    expect(said(k)).toEqual(["kpatch: can't register ftrace handler"]);
    expect(k.session.text()).toEqual(text);
    expect(leftovers(inventory, takeInventory(k.session))).toEqual([]);
  });
});
