// How long a mechanism waits before it gives up, in virtual time, when a task sleeps where it must not: kpatch's user tool tries again,
// simple lets everybody go. ksplice, kgraft and klp have their intervals beside their other tests.
import { beforeAll, expect, test } from "vitest";
import { planPatch, type Mechanism, type Outcome } from "../../src/patch/index.ts";
import { loadScenario, type BuiltScenario } from "../../src/scenario/index.ts";
import { mechanism } from "../explore/prepared.ts";
import { Kernel } from "../kernel/programs.ts";
import { buildNamed, kernelFile } from "../scenario/files.ts";

/** The system call in which the scenario's task sleeps, uninterruptibly. */
const PATCH = `
	.include "kernel.inc"
	.text
C_FUNC_START __x64_sys_stuck
	xorl	%eax, %eax
	FRAME_END
	ret
SYM_FUNC_END __x64_sys_stuck
`;

let built: BuiltScenario;
beforeAll(async () => {
  const { sources } = loadScenario("stuck", kernelFile);
  // A second is long against what the mechanisms do, and the sleep is longer than all that they wait.
  built = await buildNamed("stuck", {
    hz: 20,
    sources: sources.map((f) => ({
      ...f,
      text: f.text.replace("SLEEP_TICKS, 80", "SLEEP_TICKS, 2000"),
    })),
    patch: { name: "patch.S", text: PATCH },
    functions: ["__x64_sys_stuck"],
  });
});

/** Asks while the task sleeps there. Answers what came of it, and the ticks from the request to each attempt and to the end. */
function asked(m: Mechanism): { outcome: Outcome; attempts: readonly number[]; end: number } {
  const k = new Kernel(built);
  const { image, patch, scenario } = built;
  if (patch === undefined) throw new Error("no patch");
  const plan = planPatch(image, patch);
  k.run(10_000);
  const now = (): number => Number(k.word("jiffies"));
  const from = now();
  const attempts: number[] = [];
  k.session.agent.onProgress = () => void attempts.push(now() - from);
  const outcome = k.do(
    () => m.enable({ image, plan, hz: scenario.hz, unwinder: "fp" }),
    20_000_000,
  );
  return { outcome, attempts, end: now() - from };
}

test("kpatch tries five times, two seconds apart, and says who was in the way", () => {
  const { outcome, attempts, end } = asked(mechanism("kpatch"));
  const { hz } = built.scenario;
  expect(outcome).toMatchObject({ result: "refused", reason: "busy in all of 5 attempts" });
  expect(outcome.blockers.map((b) => [b.task, b.symbol])).toContainEqual([
    "sleeper",
    "__x64_sys_stuck",
  ]);
  expect(attempts).toHaveLength(5);
  for (const [i, at] of attempts.entries()) {
    const before = attempts[i - 1];
    if (before === undefined) continue;
    expect(at - before).toBeGreaterThanOrEqual(2 * hz);
    expect(at - before).toBeLessThan(3 * hz);
  }
  // Nothing is waited for behind the last one.
  expect(end - (attempts[4] ?? 0)).toBeLessThan(2 * hz);
});

test("simple waits for fifteen seconds and lets everybody go", () => {
  const { outcome, end } = asked(mechanism("simple"));
  const { hz } = built.scenario;
  expect(outcome).toMatchObject({
    result: "refused",
    reason: "not everybody became quiescent in time",
  });
  expect(outcome.blockers.map((b) => b.task)).toEqual(["sleeper"]);
  expect(end).toBeGreaterThanOrEqual(15 * hz);
  expect(end).toBeLessThan(16 * hz);
});
