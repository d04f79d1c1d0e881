// The form of scenario.json: names, limits, and nothing unknown. It says what is allowed, not what it means.
import * as v from "valibot";

/** The ways a patching mechanism can end. */
export const RESULTS = ["applied", "refused", "stalled", "reverted", "failed"] as const;

/** What the checks say of a run. */
export const VERDICTS = ["consistent", "violated"] as const;

const name = v.pipe(v.string(), v.regex(/^[A-Za-z0-9_.-]+$/, "expected a plain name"));
const count = (lo: number, hi: number) =>
  v.pipe(v.number(), v.integer(), v.minValue(lo), v.maxValue(hi));

/** scenario.json. */
export const ScenarioFile = v.strictObject({
  name,
  story: v.pipe(v.string(), v.minLength(1)),
  kernel: name,
  vcpus: count(1, 8),
  tasks: count(16, 100_000),
  ownTasks: v.optional(count(0, 100_000), 0),
  hz: count(1, 1000),
  tickInsns: count(200, 10_000_000),
  ramMiB: count(32, 2048),
  threadSize: v.picklist([4096, 8192, 16384]),
  sources: v.array(name),
  patch: v.optional(name),
  modules: v.optional(v.array(name), []),
  functions: v.array(name),
  claims: v.record(
    name,
    v.strictObject({ result: v.picklist(RESULTS), verdict: v.picklist(VERDICTS) }),
  ),
  results: v.array(name),
  budgetInsns: count(1, 1_000_000_000),
  requestAt: v.optional(count(0, 1_000_000_000), 0),
});
