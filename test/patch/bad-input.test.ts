// Patches that must not go in, and requests that must not be carried out: the errno and the words that the kernel has for
// each, and a system that afterwards is as it was, byte for byte.
import { beforeAll, describe, expect, it } from "vitest";
import { readFtrace } from "../../src/ftrace/index.ts";
import {
  call,
  ERRNO,
  KLP_FUNC,
  KLP_OBJECT,
  KLP_PATCH,
  KLP_STATE,
  readField,
  TASK,
  write,
  writeField,
  type Program,
} from "../../src/kernel/index.ts";
import { findSymbol } from "../../src/link/index.ts";
import { MECHANISMS, planPatch, type Request } from "../../src/patch/index.ts";
import {
  enabledStore,
  forceStore,
  klpEnablePatch,
  transitionWork,
} from "../../src/patch/klp/core.ts";
import { makePatch, systemOf } from "../../src/patch/klp/klp.ts";
import { sysfsTree } from "../../src/patch/klp/sysfs.ts";
import { readPatches, readTransition } from "../../src/patch/klp/view.ts";
import { findModule, loadModule, unloadModule } from "../../src/patch/module.ts";
import type { BuiltScenario } from "../../src/scenario/index.ts";
import { buildWith, Kernel } from "../kernel/programs.ts";
import { withoutTaints } from "./steady.ts";

const { EBUSY, EINVAL, ENODEV } = ERRNO;
const EEXIST = 17;

/** Kernel code that the patches of these tests want: a callback that fails, and a function too short to be hooked. */
const OWN = `
	.include "kernel.inc"
	.text
C_FUNC_START refusing_pre_patch
	movl	$-${ENODEV}, %eax
	FRAME_END
	ret
SYM_FUNC_END refusing_pre_patch
C_FUNC_START_NOTRACE tiny
	ret
SYM_FUNC_END tiny
`;
const NAME = "stuck_patch";
const K = "livepatch: ";

let built: BuiltScenario;
beforeAll(async () => {
  built = await buildWith("stuck", OWN);
});

function requestOf(k: Kernel): Request {
  const { patch } = built;
  if (patch === undefined) throw new Error("stuck has no patch");
  return {
    image: k.image,
    plan: planPatch(k.image, patch),
    hz: built.scenario.hz,
    unwinder: "fp",
  };
}

/** What there is of patching in the guest: text, fentry records, patches, states of tasks. */
function state(k: Kernel): unknown {
  const { session } = k;
  return {
    text: session.text(),
    sites: readFtrace(session.read, k.image).recs.map((r) => [r.ip, r.flags]),
    patches: readPatches(session.read, k.image).map((p) => [p.va, p.enabled]),
    transition: readTransition(session.read, k.image),
    states: session.tasks().map((t) => readField(session.read, TASK, t.va, "patch_state")),
    sysfs: sysfsTree(session.read, k.image).map((e) => [e.path, e.mode, e.text]),
    bugs: k.bugs(),
  };
}

/** What was said since the last look, without the reports on single tasks and the loader's on taints. */
function said(k: Kernel): readonly string[] {
  const { logs } = k.session.agent.state();
  return withoutTaints(logs.map((l) => l.text)).filter((l) => !l.includes("klp_try_switch_task"));
}

interface Change {
  readonly name?: string;
  readonly make?: (patch: bigint) => Program<void>;
}

/** Loads the module and enables a klp_patch of its functions after a change to the struct. Answers the errno. */
function enable(k: Kernel, { name, make }: Change = {}): number {
  const request = requestOf(k);
  const { plan } = request;
  return k.do(function* () {
    const loaded = yield* loadModule(request.image, plan, true);
    const va = yield* makePatch({ ...request, plan: { ...plan, name: name ?? plan.name } });
    // Of another name it is in the same module.
    const mod = (yield* findModule(request.image, plan))?.va ?? 0n;
    yield* writeField(KLP_PATCH, va, "mod", mod);
    if (make !== undefined) yield* make(va);
    const { error } = yield* klpEnablePatch(systemOf(request), va);
    if (error !== 0 && loaded === 0) yield* unloadModule(request.image, plan);
    return error;
  });
}

/** The worker's rounds until the transition is over. */
function settle(k: Kernel): void {
  const system = systemOf(requestOf(k));
  for (let i = 0; readTransition(k.session.read, k.image).patch !== 0n; i++) {
    if (i === 40) throw new Error("the transition does not end");
    k.run(4000);
    k.do(() => transitionWork(system));
  }
}

function store(k: Kernel, which: "enabled" | "force", patch: string, value: boolean): number {
  const system = systemOf(requestOf(k));
  const begin = which === "enabled" ? enabledStore : forceStore;
  return k.do(() => begin(system, patch, value)).error;
}

function* stringAt(text: string): Program<bigint> {
  const bytes = new TextEncoder().encode(`${text}\0`);
  const va = yield* call("kzalloc", BigInt(bytes.length));
  yield* write(va, bytes);
  return va;
}

/** The first klp_object of a patch whose lists are not made yet, and its first klp_func. */
function first(k: Kernel, patch: bigint): { object: bigint; func: bigint } {
  const object = readField(k.session.read, KLP_PATCH, patch, "objs");
  return { object, func: readField(k.session.read, KLP_OBJECT, object, "funcs") };
}

const CANCELED = [
  `${K}failed to enable patch '${NAME}'`,
  `${K}'${NAME}': canceling patching transition, going to unpatch`,
  `${K}'${NAME}': completing unpatching transition`,
  `${K}'${NAME}': unpatching complete`,
];
const BEGUN = [`${K}enabling patch '${NAME}'`, `${K}'${NAME}': initializing patching transition`];

describe("bytes that are not the expected ones", () => {
  it("in the body of a function: ksplice refuses, and writes nothing", () => {
    const k = new Kernel(built);
    const request = requestOf(k);
    const f = request.plan.functions[0];
    const ksplice = MECHANISMS["ksplice"];
    if (f === undefined || ksplice === undefined) throw new Error("no function");
    const last = f.oldVa + BigInt(f.oldSize) - 1n;
    k.session.machine.write(last, Uint8Array.of(0x90));
    const before = state(k);
    const r = k.do(() => ksplice.enable(request));
    expect(r.result).toBe("refused");
    expect(r.reason).toBe(`${f.name}: the running code is not the expected code`);
    expect(state(k)).toEqual(before);
  });

  it.each(["kpatch", "kgraft", "klp"])(
    "at the fentry site: ftrace shuts down before it writes to a site, and %s gets -ENODEV",
    (name) => {
      const k = new Kernel(built);
      const request = requestOf(k);
      const [f] = request.plan.functions;
      const m = MECHANISMS[name];
      if (f?.site === undefined || m === undefined) throw new Error("no site");
      // Another nop of five bytes: it does nothing, and it is not what ftrace has put there.
      k.session.machine.write(f.site, Uint8Array.of(0x66, 0x66, 0x66, 0x66, 0x90));
      const before = k.session.text();
      const r = k.do(() => m.enable(request));
      expect(["refused", "failed"]).toContain(r.result);
      expect(r.reason).toContain(`(${-ENODEV})`);
      // What the common trampolines call is set first, as in ftrace_modify_all_code(); nothing else is.
      const start = k.va("_stext");
      const slots = ["ftrace_call", "ftrace_regs_call"].map((s) => k.va(s));
      const changed = [...k.session.text().entries()].filter(([i, b]) => b !== before[i]);
      const own = changed.filter(([i]) => {
        const va = start + BigInt(i);
        return !slots.some((s) => va >= s && va < s + 5n);
      });
      expect(own).toEqual([]);
      const lines = said(k);
      const at = lines.indexOf("------------[ ftrace bug ]------------");
      expect(lines.slice(at + 1, at + 5)).toEqual([
        "ftrace failed to modify ",
        `[<${f.site.toString(16)}>] ${f.name}+0x0/0x${f.oldSize.toString(16)}`,
        " actual:   66:66:66:66:90",
        " expected: 0f:1f:44:00:00",
      ]);
      expect(k.word("ftrace_disabled", 4)).toBe(1n);
      if (name === "klp") {
        expect(lines.filter((l) => l.startsWith(K))).toEqual([
          ...BEGUN,
          `${K}failed to register ftrace handler for function '${f.name}' (${-ENODEV})`,
          `${K}failed to patch object 'vmlinux'`,
          ...CANCELED,
        ]);
        expect(readPatches(k.session.read, k.image)).toEqual([]);
      }
      expect(k.bugs()).toEqual([]);
    },
  );
});

describe("a function that cannot take the patch", () => {
  it("is too short for a jump: ksplice refuses it by name", () => {
    const k = new Kernel(built);
    const request = requestOf(k);
    const tiny = findSymbol(k.image, "tiny");
    const [f] = request.plan.functions;
    const ksplice = MECHANISMS["ksplice"];
    if (f === undefined || tiny === undefined || ksplice === undefined) throw new Error("no tiny");
    const short = { ...f, name: "tiny", oldVa: tiny.va, jumpVa: tiny.va, oldSize: 1 };
    const plan = { ...request.plan, functions: [short] };
    const before = state(k);
    const r = k.do(() => ksplice.enable({ ...request, plan }));
    expect(r).toMatchObject({
      result: "refused",
      reason: "tiny: shorter than the 5 bytes of a jump",
    });
    expect(state(k)).toEqual(before);
  });

  it("has no fentry site: klp says that it finds no location, -EINVAL", () => {
    const k = new Kernel(built);
    const before = state(k);
    const error = enable(k, {
      *make(va) {
        const { func } = first(k, va);
        yield* writeField(KLP_FUNC, func, "old_name", yield* stringAt("tiny"));
      },
    });
    expect(error).toBe(-EINVAL);
    expect(said(k)).toEqual([
      ...BEGUN,
      `${K}failed to find location for function 'tiny'`,
      `${K}failed to patch object 'vmlinux'`,
      ...CANCELED,
    ]);
    expect(state(k)).toEqual(before);
  });

  it("is not there: klp does not find its symbol, -EINVAL, before any transition", () => {
    const k = new Kernel(built);
    const before = state(k);
    const error = enable(k, {
      *make(va) {
        const { func } = first(k, va);
        yield* writeField(KLP_FUNC, func, "old_name", yield* stringAt("no_such_function"));
      },
    });
    expect(error).toBe(-EINVAL);
    expect(said(k)).toEqual([`${K}symbol 'no_such_function' not found in symbol table`]);
    expect(state(k)).toEqual(before);
  });
});

describe("klp", () => {
  it("takes a patch for a module that is not loaded, and patches nothing", () => {
    const k = new Kernel(built);
    const text = k.session.text();
    const error = enable(k, {
      *make(va) {
        const { object } = first(k, va);
        yield* writeField(KLP_OBJECT, object, "name", yield* stringAt("absent"));
      },
    });
    expect(error).toBe(0);
    settle(k);
    expect(k.session.text()).toEqual(text);
    const patched = `/sys/kernel/livepatch/${NAME}/absent/patched`;
    const entry = sysfsTree(k.session.read, k.image).find((e) => e.path === patched);
    expect(entry?.text).toBe("0\n");
  });

  it("undoes everything when a pre-patch callback fails, and hands its errno on", () => {
    const k = new Kernel(built);
    const before = state(k);
    const error = enable(k, {
      *make(va) {
        const { object } = first(k, va);
        yield* writeField(KLP_OBJECT, object, "pre_patch", k.va("refusing_pre_patch"));
      },
    });
    expect(error).toBe(-ENODEV);
    expect(said(k)).toEqual([
      ...BEGUN,
      `${K}pre-patch callback failed for object 'vmlinux'`,
      ...CANCELED,
    ]);
    expect(state(k)).toEqual(before);
  });

  /** A struct klp_state array of one entry. */
  function* states(va: bigint, version: bigint): Program<void> {
    const array = yield* call("kzalloc", BigInt(2 * KLP_STATE.size));
    yield* writeField(KLP_STATE, array, "id", 7n);
    yield* writeField(KLP_STATE, array, "version", version);
    yield* writeField(KLP_PATCH, va, "states", array);
  }

  it.each([
    ["of a lower version of a state", (va: bigint) => states(va, 1n)],
    ["that replaces without the state", (va: bigint) => writeField(KLP_PATCH, va, "replace", 1n)],
  ])("refuses a patch %s as not compatible, -EINVAL", (_, make) => {
    const k = new Kernel(built);
    expect(enable(k, { make: (va) => states(va, 2n) })).toBe(0);
    settle(k);
    const before = state(k);
    expect(enable(k, { name: "second", make })).toBe(-EINVAL);
    expect(said(k)).toEqual([
      `${K}Livepatch patch (second) is not compatible with the already installed livepatches.`,
    ]);
    expect(state(k)).toEqual(before);
  });

  /** A copy of an array of one struct and its end, with the struct in it `times` times. */
  function* repeated(k: Kernel, from: bigint, size: number, times: number): Program<bigint> {
    const array = yield* call("kzalloc", BigInt((times + 1) * size));
    const bytes = k.session.read(from, size);
    for (let i = 0; i < times; i++) yield* write(array + BigInt(i * size), bytes);
    return array;
  }

  it.each([
    [
      "one function twice",
      "vmlinux/stuck_count,1",
      function* (k: Kernel, va: bigint): Program<void> {
        const { object, func } = first(k, va);
        const array = yield* repeated(k, func, KLP_FUNC.size, 2);
        // Position 0 is 1 where the name is the only one.
        yield* writeField(KLP_FUNC, array, "old_sympos", 1n);
        yield* writeField(KLP_OBJECT, object, "funcs", array);
      },
    ],
    [
      "one object twice",
      "vmlinux",
      function* (k: Kernel, va: bigint): Program<void> {
        const { object, func } = first(k, va);
        const array = yield* repeated(k, object, KLP_OBJECT.size, 2);
        // Functions of its own: they are on a list of their object.
        const second = array + BigInt(KLP_OBJECT.size);
        yield* writeField(KLP_OBJECT, second, "funcs", yield* repeated(k, func, KLP_FUNC.size, 1));
        yield* writeField(KLP_PATCH, va, "objs", array);
      },
    ],
  ])("refuses a patch with %s, -EEXIST, in sysfs's words", (_, path, make) => {
    const k = new Kernel(built);
    const before = state(k);
    expect(enable(k, { make: (va) => make(k, va) })).toBe(-EEXIST);
    const name = path.slice(path.lastIndexOf("/") + 1);
    expect(said(k)).toEqual([
      `sysfs: cannot create duplicate filename '/kernel/livepatch/${NAME}/${path}'`,
      `kobject: kobject_add_internal failed for ${name} with -EEXIST, don't try to register things with the same name in the same directory.`,
    ]);
    expect(state(k)).toEqual(before);
  });

  it.each([
    ["without a module", (_: Kernel, va: bigint) => writeField(KLP_PATCH, va, "mod", 0n)],
    ["without an object", (_: Kernel, va: bigint) => writeField(KLP_PATCH, va, "objs", 0n)],
    [
      "with an object without functions",
      (k: Kernel, va: bigint) =>
        (function* (): Program<void> {
          const { object } = first(k, va);
          yield* writeField(KLP_OBJECT, object, "name", yield* stringAt("empty"));
          yield* writeField(KLP_OBJECT, object, "funcs", 0n);
        })(),
    ],
    [
      "with a module's name of 56 letters",
      (k: Kernel, va: bigint) =>
        (function* (): Program<void> {
          const { object } = first(k, va);
          yield* writeField(KLP_OBJECT, object, "name", yield* stringAt("m".repeat(56)));
        })(),
    ],
    [
      "with a function's name of 512 letters",
      (k: Kernel, va: bigint) =>
        (function* (): Program<void> {
          const { func } = first(k, va);
          yield* writeField(KLP_FUNC, func, "old_name", yield* stringAt("f".repeat(512)));
        })(),
    ],
    [
      "with a function without a new one",
      (k: Kernel, va: bigint) =>
        (function* (): Program<void> {
          const { func } = first(k, va);
          yield* writeField(KLP_FUNC, func, "new_func", 0n);
        })(),
    ],
  ])("refuses a patch %s, -EINVAL, in silence", (_, make) => {
    const k = new Kernel(built);
    const before = state(k);
    expect(enable(k, { make: (va) => make(k, va) })).toBe(-EINVAL);
    expect(said(k)).toEqual([]);
    expect(state(k)).toEqual(before);
  });

  it("refuses a second patch of the same name, -EEXIST, in sysfs's words", () => {
    const k = new Kernel(built);
    expect(enable(k)).toBe(0);
    settle(k);
    const before = state(k);
    expect(enable(k)).toBe(-EEXIST);
    expect(said(k)).toEqual([
      `sysfs: cannot create duplicate filename '/kernel/livepatch/${NAME}'`,
      `kobject: kobject_add_internal failed for ${NAME} with -EEXIST, don't try to register things with the same name in the same directory.`,
    ]);
    expect(state(k)).toEqual(before);
  });

  it("neither enables nor disables a patch while another is in transition: -EBUSY, in silence", () => {
    const k = new Kernel(built);
    expect(enable(k, { name: "base" })).toBe(0);
    settle(k);
    // A task sleeps in the function of the second one.
    k.run(20_000);
    const error = enable(k, {
      *make(va) {
        const { func } = first(k, va);
        yield* writeField(KLP_FUNC, func, "old_name", yield* stringAt("__x64_sys_stuck"));
      },
    });
    expect(error).toBe(0);
    const moving = readTransition(k.session.read, k.image);
    expect(moving.patch).not.toBe(0n);
    const text = k.session.text();
    expect(store(k, "enabled", "base", false)).toBe(-EBUSY);
    expect(said(k)).toEqual([]);
    expect(store(k, "force", "base", true)).toBe(-EINVAL);
    expect(said(k)).toEqual([]);
    expect(enable(k, { name: "third.S" })).toBe(-EBUSY);
    expect(said(k)).toEqual([]);
    expect(readTransition(k.session.read, k.image)).toEqual(moving);
    expect(k.session.text()).toEqual(text);
    const names = readPatches(k.session.read, k.image).map((p) => [p.name, p.enabled]);
    expect(names).toEqual([
      ["base", true],
      [NAME, true],
    ]);
  });

  it("forces nothing when nothing is pending, and does not enable or disable twice: -EINVAL", () => {
    const k = new Kernel(built);
    expect(enable(k)).toBe(0);
    settle(k);
    const before = state(k);
    expect(store(k, "force", NAME, true)).toBe(-EINVAL);
    expect(store(k, "force", NAME, false)).toBe(0);
    expect(store(k, "enabled", NAME, true)).toBe(-EINVAL);
    expect(said(k)).toEqual([]);
    expect(state(k)).toEqual(before);
  });
});
