// Modules on a running kernel: their text comes and goes in the guest, init and exit run there, and whoever is told may
// refuse one.
import { beforeAll, describe, expect, test } from "vitest";
import { makeAssembler } from "../../src/asm/index.ts";
import { readFtrace, startFunctionTracer } from "../../src/ftrace/index.ts";
import {
  asmOffsetsInc,
  call,
  ERRNO,
  fieldVa,
  FTRACE_OPS,
  log,
  MODULE,
  readModules,
  type Program,
} from "../../src/kernel/index.ts";
import { findSymbol } from "../../src/link/index.ts";
import {
  deleteModule,
  initModule,
  loadedModules,
  type ModuleNotifier,
  type ModuleSource,
  type ModuleWorld,
} from "../../src/patch/index.ts";
import { assembleFile, type BuiltScenario } from "../../src/scenario/index.ts";
import { buildWith, Kernel } from "../kernel/programs.ts";
import { kernelFile } from "../scenario/files.ts";

const { EBUSY, EAGAIN, ENOENT, EINVAL } = ERRNO;

const TARGET = `
	.include "kernel.inc"
	.text
C_FUNC_START target_read
	movl	target_value(%rip), %eax
	FRAME_END
	ret
SYM_FUNC_END target_read
C_FUNC_START target_bug
	BUG "the module's own"
SYM_FUNC_END target_bug
C_FUNC_START init_module
	movl	$42, target_value(%rip)
	movq	$__this_module, %rax
	movq	%rax, target_self(%rip)
	call	target_read
	xorl	%eax, %eax
	FRAME_END
	ret
SYM_FUNC_END init_module
C_FUNC_START cleanup_module
	lock incl modules_gone(%rip)
	FRAME_END
	ret
SYM_FUNC_END cleanup_module
	.data
	.globl target_value, target_self
target_value:
	.long	0
	.p2align 3
target_self:
	.quad	0
	.bss
	.skip	5000
`;
const REFUSES = TARGET.replace("xorl	%eax, %eax\n	FRAME_END", "movl	$-22, %eax\n	FRAME_END");
const USER = `
	.include "kernel.inc"
	.text
C_FUNC_START user_read
	call	target_read
	incl	%eax
	FRAME_END
	ret
SYM_FUNC_END user_read
`;
const KERNEL = `
	.include "kernel.inc"
	.data
	.globl modules_gone
modules_gone:
	.long	0
`;

let built: BuiltScenario;
let sources: readonly ModuleSource[];
beforeAll(async () => {
  built = await buildWith("two-tasks", KERNEL);
  const tools = {
    assembler: await makeAssembler(),
    generated: { "asm-offsets.inc": asmOffsetsInc() },
  };
  const scenario = {
    ...built.scenario,
    includes: { ...built.scenario.includes, "kernel.inc": kernelFile("base/kernel.inc") ?? "" },
  };
  sources = Object.entries({ target: TARGET, refuses: REFUSES, user: USER }).map(
    ([name, text]) => ({ name, obj: assembleFile(scenario, { name: `${name}.S`, text }, tools) }),
  );
});

function world(notifiers: readonly ModuleNotifier[] = []): ModuleWorld {
  return { image: built.image, sources, notifiers };
}

function source(name: string): ModuleSource {
  const s = sources.find((x) => x.name === name);
  if (s === undefined) throw new Error(name);
  return s;
}

const load = (k: Kernel, name: string, w = world()): number =>
  k.do(() => initModule(w, source(name)));
const unload = (k: Kernel, name: string, w = world()): number => k.do(() => deleteModule(w, name));
const list = (k: Kernel): ReturnType<typeof readModules> => readModules(k.session.read, k.image);

function symbol(k: Kernel, module: string, name: string): bigint {
  const m = loadedModules(list(k), sources, k.image).find((x) => x.name === module);
  const s = m === undefined ? undefined : findSymbol(m.image, name);
  if (s === undefined) throw new Error(`${module} ${name}`);
  return s.va;
}

/** Calls a function of a module by its address: PATCH_CALL's names are the kernel's, so a thread of it does. */
function* callAt(k: Kernel, va: bigint): Program<bigint> {
  return yield* call("call_address", va);
}

describe("a module", () => {
  test("is linked where memory was found, initialised in the guest, and live", () => {
    const k = new Kernel(built, 1);
    expect(load(k, "target")).toBe(0);
    const [m] = list(k);
    expect([m?.name, m?.state, m?.refcnt, m?.base]).toEqual([
      "target",
      "live",
      1,
      k.va("module_room"),
    ]);
    expect(k.session.machine.read32(symbol(k, "target", "target_value"))).toBe(42);
    expect(k.session.machine.read64(symbol(k, "target", "target_self"))).toBe(m?.va);
    const site = symbol(k, "target", "target_read");
    expect([...k.session.read(site, 5)]).toEqual([0x0f, 0x1f, 0x44, 0, 0]);
    expect(readFtrace(k.session.read, k.image).recs.filter((r) => r.ip === site).length).toBe(1);
    expect(load(k, "target")).toBe(-17);
    expect(list(k).length).toBe(1);
  });

  test("leaves int3 and no record behind, and its place is given to the next", () => {
    const k = new Kernel(built, 1);
    load(k, "target");
    const [m] = list(k);
    const before = readFtrace(k.session.read, k.image).recs.length;
    expect(unload(k, "target")).toBe(0);
    expect(k.word("modules_gone", 4)).toBe(1n);
    expect(list(k)).toEqual([]);
    expect(k.session.read(m?.base ?? 0n, m?.size ?? 0).every((b) => b === 0xcc)).toBe(true);
    expect(readFtrace(k.session.read, k.image).recs.length).toBe(before - 4);
    expect(unload(k, "target")).toBe(-ENOENT);
    load(k, "target");
    expect(list(k)[0]?.base).toBe(m?.base);
  });

  test("whose init fails goes again", () => {
    const k = new Kernel(built, 1);
    expect(load(k, "refuses")).toBe(-EINVAL);
    expect(list(k)).toEqual([]);
    expect(k.word("modules_gone", 4)).toBe(0n);
  });

  test("that is in use stays: -EWOULDBLOCK", () => {
    const k = new Kernel(built, 1);
    load(k, "target");
    const mod = list(k)[0]?.va ?? 0n;
    expect(k.do(() => call("try_module_get", mod))).toBe(1n);
    expect(unload(k, "target")).toBe(-EAGAIN);
    expect(list(k)[0]?.state).toBe("live");
    k.do(() => call("module_put", mod));
    expect(unload(k, "target")).toBe(0);
  });

  test("that has no exit cannot go if it has an init: -EBUSY", () => {
    const k = new Kernel(built, 1);
    load(k, "target");
    const mod = list(k)[0]?.va ?? 0n;
    k.session.machine.write64(fieldVa(MODULE, mod, "exit"), 0n);
    expect(unload(k, "target")).toBe(-EBUSY);
  });

  test("may use another one's symbols", () => {
    const k = new Kernel(built, 1);
    load(k, "target");
    load(k, "user");
    expect(k.do(() => callAt(k, symbol(k, "user", "user_read")))).toBe(43n);
  });

  test("may have BUGs of its own", () => {
    const k = new Kernel(built, 1);
    load(k, "target");
    expect(() => k.do(() => callAt(k, symbol(k, "target", "target_bug")))).toThrow(
      "the module's own",
    );
  });

  test("that comes while everything is traced is traced from its init on", () => {
    const k = new Kernel(built, 1);
    // A filter with one function, and then none: what it says is true of modules that come later.
    k.do(() => startFunctionTracer(k.image, [k.va("__x64_sys_getpid")]));
    const ops = k.va("function_trace_ops");
    k.session.machine.write64(fieldVa(FTRACE_OPS, ops, "hash"), 0n);
    load(k, "target");
    const site = symbol(k, "target", "target_read");
    expect(k.session.read(site, 1)[0]).toBe(0xe8);
  });
});

describe("notifiers", () => {
  const words: string[] = [];
  function* say(text: string): Program<void> {
    words.push(text);
    yield* log(text);
  }
  const notifier = (name: string, refuse = 0): ModuleNotifier => ({
    *coming(m) {
      yield* say(`${name} coming ${m.name} ${m.state}`);
      return refuse;
    },
    *live(m) {
      yield* say(`${name} live ${m.name}`);
    },
    *going(m) {
      yield* say(`${name} going ${m.name}`);
    },
  });

  test("are told in order when a module comes and in the other when it goes", () => {
    const k = new Kernel(built, 1);
    words.length = 0;
    const w = world([notifier("a"), notifier("b")]);
    load(k, "target", w);
    unload(k, "target", w);
    expect(words).toEqual([
      "a coming target coming",
      "b coming target coming",
      "a live target",
      "b live target",
      "b going target",
      "a going target",
    ]);
  });

  test("may refuse it: its init does not run, and those who were told before are told that it goes", () => {
    const k = new Kernel(built, 1);
    words.length = 0;
    expect(load(k, "target", world([notifier("a"), notifier("b", -EINVAL), notifier("c")]))).toBe(
      -EINVAL,
    );
    expect(words).toEqual(["a coming target coming", "b coming target coming", "a going target"]);
    expect(list(k)).toEqual([]);
  });
});
