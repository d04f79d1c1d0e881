// The steady load for tests of patches on top of one another: it counts what its tasks are given, so that a patch is seen
// from user mode. Two versions of its patch, the second one linked behind the first.
import { findSymbol, type Image } from "../../src/link/index.ts";
import { planPatch, type Mechanism, type Outcome, type Request } from "../../src/patch/index.ts";
import { loadScenario, type BuiltScenario } from "../../src/scenario/index.ts";
import type { Kernel } from "../kernel/programs.ts";
import { anotherPatch, buildNamed, kernelFile } from "../scenario/files.ts";

const SEEN = 32n;
const TASKS = 8;
const LOCAL = /C_FUNC_START steady_local[^]*?SYM_FUNC_END steady_local\n/;

/** The text of the scenario's patch. */
export const PATCH: string = kernelFile("steady/patch.S") ?? "";

/** The same with another version in it, and without steady_local: the load sees 0xVV. */
export function version(v: number): string {
  return PATCH.replaceAll("$2,", `$${v},`).replace("$0x20", `$0x${v}0`).replace(LOCAL, "");
}

/**
 * The scenario with rounds enough for a test, in which 0x33 is no mixture either. first: the text of its patch; more: kernel code
 * of the test's own.
 */
export async function buildSteady(first = PATCH, more = ""): Promise<BuiltScenario> {
  const { sources, patch } = loadScenario("steady", kernelFile);
  const own = more === "" ? [] : [{ name: "test.S", text: more }];
  return buildNamed("steady", {
    patch: { name: patch?.name ?? "steady/patch.S", text: first },
    sources: [...sources, ...own].map((s) => ({
      ...s,
      text: s.text
        .replaceAll(/(ROUNDS, )(\d+)/g, (_, set: string, n: string) => set + Number(n) * 40)
        .replace("	cmpq	$0x22, %rax\n	je	1f", "	cmpq	$0x22, %rax\n	je	1f\n	cmpq	$0x33, %rax\n	je	1f"),
    })),
  });
}

export function requestOf(
  { image, scenario }: BuiltScenario,
  module: Image | undefined,
  rest: Partial<Request> = {},
): Request {
  if (module === undefined) throw new Error("steady has no patch");
  return { image, plan: planPatch(image, module), hz: scenario.hz, unwinder: "fp", ...rest };
}

/** Two requests for patches of the same functions, the second one made for a kernel with the first. */
export async function twoRequests(
  built: BuiltScenario,
): Promise<{ first: Request; next: Request }> {
  const second = await anotherPatch(built, "steady/second.S", version(3), built.patch);
  const first = requestOf(built, built.patch);
  return { first, next: requestOf(built, second, { below: [first.plan] }) };
}

/** What the tasks of the load were given last, once each has been served again, and how many mixtures there were in all. */
export function given(k: Kernel): { last: readonly bigint[]; mixtures: bigint } {
  const seen = findSymbol(k.image, "seen")?.va ?? 0n;
  const word = (i: number, at: bigint): bigint =>
    k.session.machine.read64(seen + BigInt(i) * SEEN + at);
  const tasks = Array.from({ length: TASKS }, (_, i) => i);
  const before = tasks.map((i) => word(i, 0n));
  for (let n = 0; tasks.some((i) => word(i, 0n) < (before[i] ?? 0n) + 3n); n++) {
    if (n === 200) throw new Error("the load is not served");
    k.run(5000);
  }
  return {
    last: [...new Set(tasks.map((i) => word(i, 24n)))],
    mixtures: tasks.reduce((n, i) => n + word(i, 16n), 0n),
  };
}

/** Asks, and again where a stack was busy, as the user would. */
export function ask(
  k: Kernel,
  m: Mechanism,
  what: "enable" | "disable",
  request: Request,
): Outcome {
  for (let tries = 1; ; tries++) {
    const r = k.do(() => m[what](request), 40_000_000);
    if (r.result !== "refused" || !r.reason.startsWith("busy") || tries === 20) return r;
  }
}

/** Lines without those of the loader on what a module does to the kernel, as the selftests leave them out. */
export function withoutTaints(lines: readonly string[]): readonly string[] {
  return lines.filter((l) => !/(?:tainting|taints) kernel/.test(l));
}

/** What the mechanism has said since the last request. */
export function said(k: Kernel): readonly string[] {
  return withoutTaints(k.session.agent.state().logs.map((l) => l.text));
}
