// The forms of docs/json.md as schemas. More keys may be added to a form, so unknown ones pass.
import * as v from "valibot";

const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const va = v.pipe(v.string(), v.regex(/^0x[0-9a-f]{1,16}$/));
const text = v.string();

const Violation = v.object({
  check: text,
  vcpu: v.nullable(count),
  insn: count,
  task: text,
  ip: va,
  symbol: text,
  message: text,
  atEntry: v.optional(text),
  repro: v.nullable(text),
});

const Frame = v.object({ ip: va, symbol: text });

const Blocker = v.object({
  task: text,
  pid: count,
  reason: text,
  symbol: v.nullable(text),
  stack: v.array(Frame),
});

export const Run = v.array(
  v.object({
    scenario: text,
    mechanism: text,
    result: v.picklist(["applied", "refused", "stalled", "reverted", "failed"]),
    verdict: v.picklist(["consistent", "violated"]),
    violations: v.array(Violation),
    latencyInsns: v.nullable(count),
    pauseInsns: v.nullable(count),
    modelledInsns: v.nullable(count),
    tasks: count,
    switched: v.array(v.object({ task: text, pid: count, how: text, insn: v.nullable(count) })),
    blockers: v.array(Blocker),
    held: v.array(v.object({ ...Blocker.entries, insn: count, try: count, truth: v.array(Frame) })),
  }),
);

export const Explore = v.object({
  scenario: text,
  mechanism: text,
  points: count,
  schedules: count,
  applied: count,
  refused: count,
  stalled: count,
  violations: count,
  first: v.nullable(Violation),
  exhausted: v.boolean(),
  seconds: v.optional(v.number()),
});

export const UnwindScore = v.array(
  v.pipe(
    v.object({
      image: text,
      unwinder: text,
      boundaries: count,
      exact: count,
      truncated: count,
      skipped: count,
      falseFrame: count,
      refused: count,
      reliableWrong: count,
      firstWrong: v.nullable(v.unknown()),
    }),
    v.check(
      (s) => s.boundaries === s.exact + s.truncated + s.skipped + s.falseFrame + s.refused,
      "boundaries are the sum",
    ),
  ),
);

export const List = v.object({
  scenarios: v.array(text),
  hazards: v.array(text),
  mechanisms: v.array(text),
  unwinders: v.array(text),
});

export const Disasm = v.array(
  v.object({
    va,
    symbol: text,
    bytes: v.pipe(text, v.regex(/^[0-9a-f]{2}(?: [0-9a-f]{2}){0,14}$/)),
    text,
    fentry: v.boolean(),
    asked: v.boolean(),
  }),
);

export const Bench = v.array(
  v.pipe(
    v.object({
      name: text,
      unit: text,
      definition: text,
      value: v.nullable(v.number()),
      samples: count,
      min: v.nullable(v.number()),
      median: v.nullable(v.number()),
      max: v.nullable(v.number()),
      target: v.nullable(
        v.object({ bound: v.picklist(["at least", "at most"]), value: v.number() }),
      ),
      met: v.nullable(v.boolean()),
      skipped: v.nullable(text),
    }),
    v.check((r) => (r.value === null) === (r.skipped !== null), "a value or why there is none"),
    v.check((r) => r.met === null || r.target !== null, "met says something of a target"),
  ),
);

export const Sysfs = v.object({
  scenario: text,
  seed: count,
  at: count,
  vcpus: count,
  loaded: v.object({ insn: count, errno: count }),
  actions: v.array(
    v.object({
      action: v.picklist(["read", "list", "write", "wait"]),
      insn: count,
      path: v.nullable(text),
      value: v.nullable(text),
      errno: count,
      files: v.array(v.object({ path: text, mode: text, value: v.nullable(text) })),
      ended: v.boolean(),
    }),
  ),
  end: v.picklist(["complete", "no such file", "bug", "budget"]),
  message: v.nullable(text),
  log: v.array(v.object({ insn: count, text })),
});
