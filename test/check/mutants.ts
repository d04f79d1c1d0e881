// Mechanisms with a bug put into them on purpose, so that each check can be seen to fire. They keep the name of the one
// that they come from: they are judged by its promise.
import { branchTo } from "../../src/ftrace/index.ts";
import {
  call,
  sleep,
  symbolVa,
  write,
  writeWord,
  type Program,
  type Step,
} from "../../src/kernel/index.ts";
import { outcome, type Mechanism, type Outcome, type Request } from "../../src/patch/index.ts";
import { mechanism } from "../explore/prepared.ts";

/** A look whose finding is changed by `lie`. */
function lying(step: Step, lie: (under: string, value: unknown) => unknown): Step {
  if (step.op !== "look") return step;
  const { under, run } = step;
  return {
    ...step,
    run: (g) => {
      const seen = run(g);
      return { value: lie(under, seen.value), cost: seen.cost };
    },
  };
}

/** Lies to a program at every look. */
function* lied(
  program: Program<Outcome>,
  lie: (under: string, value: unknown) => unknown,
): Program<Outcome> {
  let r = program.next();
  while (!r.done) r = program.next(yield lying(r.value, lie));
  return r.value;
}

/** Nobody is in the way, whatever was found with the machine stopped. */
function nobody(under: string, value: unknown): unknown {
  if (under !== "stop_machine" || typeof value !== "object") return value;
  return { ...value, blockers: [] };
}

/** Nothing is in the way of a task, whatever its stack says. */
function noObstacle(under: string, value: unknown): unknown {
  return under === "rq_lock" && typeof value === "object"
    ? { ...value, obstacle: undefined }
    : value;
}

function from(name: string, apply: (r: Request, own: Mechanism) => Program<Outcome>): Mechanism {
  const own = mechanism(name);
  return { ...own, enable: (r) => apply(r, own) };
}

/** simple that believes that everybody is gathered already. */
export const SIMPLE_THAT_DOES_NOT_WAIT = from("simple", (r, own) =>
  lied(own.enable(r), (under, value) => {
    if (under === "tasklist_lock") return { users: [], kthreads: [] };
    const isLook = typeof value === "object" && value !== null && "isStill" in value;
    return under === "stop_machine" && isLook ? { isStill: true, switched: [] } : value;
  }),
);

/** kpatch that finds nobody on any stack. */
export const KPATCH_THAT_DOES_NOT_LOOK = from("kpatch", (r, own) => lied(own.enable(r), nobody));

/** kpatch that says that all is in force, without stop_machine, before it has added its functions. */
export const KPATCH_THAT_SAYS_SO_FIRST = from("kpatch", function* (r, own) {
  const program = own.enable(r);
  const held: Step[] = [];
  const state = symbolVa(r.image, "kpatch_state");
  const head = symbolVa(r.image, "kpatch_func_hash");
  let next = program.next();
  while (!next.done) {
    const step = next.value;
    if (step.op === "stop" || step.op === "resume") next = program.next(0n);
    else if (step.op === "look") next = program.next(yield lying(step, nobody));
    else if (step.op === "write" && step.va === head) {
      held.push(step);
      next = program.next();
    } else if (step.op === "cmpxchg" && step.va === state) {
      const was = yield step;
      for (const late of held) {
        yield* sleep(1);
        yield late;
      }
      next = program.next(was);
    } else next = program.next(yield step);
  }
  return next.value;
});

/** naive that takes a nap after the first byte. */
export const NAIVE_THAT_NAPS = from("naive", function* ({ plan }) {
  const [f] = plan.functions;
  if (f === undefined) return outcome("refused", "nothing to patch");
  const jump = branchTo("jmp", f.jumpVa, f.newVa);
  yield* writeWord(f.jumpVa, BigInt(jump[0] ?? 0), 1);
  yield* sleep(4);
  yield* write(f.jumpVa, jump);
  return outcome("applied", "the rest came later");
});

/** klp whose worker finds nothing in the way of any task, running or not. */
export const KLP_THAT_DOES_NOT_LOOK = from("klp", (r, own) => lied(own.enable(r), noObstacle));

/** klp that sets func->transition when the functions are hooked already: until then the handler takes every task for patched. */
export const KLP_THAT_HOOKS_FIRST = from("klp", function* (r, own) {
  const program = own.enable(r);
  const held: Step[] = [];
  let isInit = false;
  let next = program.next();
  while (!next.done) {
    const step = next.value;
    if (step.op === "log" && step.text.includes("initializing")) isInit = true;
    if (step.op === "log" && step.text.includes("starting")) for (const late of held) yield late;
    const isFlag = isInit && step.op === "write" && step.bytes.length === 1 && step.bytes[0] === 1;
    if (isFlag && held.length < r.plan.functions.length) {
      held.push(step);
      next = program.next();
    } else next = program.next(yield step);
  }
  return next.value;
});

/** kgraft that is never immutable: whoever is not marked yet is in the new universe, and then marked. */
export const KGRAFT_THAT_IS_NEVER_IMMUTABLE = from("kgraft", function* (r, own) {
  const program = own.enable(r);
  const immutable = symbolVa(r.image, "kgr_immutable");
  let next = program.next();
  while (!next.done) {
    const step = next.value;
    const isSet = step.op === "write" && step.va === immutable;
    next = program.next(yield isSet ? { ...step, bytes: new Uint8Array(4) } : step);
  }
  return next.value;
});

function* markingNobody(program: Program<Outcome>): Program<Outcome> {
  let next = program.next();
  while (!next.done) {
    const step = next.value;
    next = program.next(step.op === "rmw" && step.set !== 0n ? 0n : yield step);
  }
  return next.value;
}

/** kgraft that marks nobody: whoever does not come by while it is immutable is taken for new, wherever he is. */
export const KGRAFT_THAT_MARKS_NOBODY = from("kgraft", (r, own) => markingNobody(own.enable(r)));

/** The same on their way back. */
export const ON_THE_WAY_OUT: Readonly<Record<"kgraft" | "kpatch" | "klp", Mechanism>> = {
  kgraft: { ...mechanism("kgraft"), disable: (r) => markingNobody(mechanism("kgraft").disable(r)) },
  kpatch: { ...mechanism("kpatch"), disable: (r) => lied(mechanism("kpatch").disable(r), nobody) },
  klp: { ...mechanism("klp"), disable: (r) => lied(mechanism("klp").disable(r), noObstacle) },
};

/** Does nothing and says so. */
export const NOTHING = from("naive", function* () {
  yield* sleep(1);
  return outcome("refused", "does nothing");
});

/** Refuses, but has written over an entry before. */
export const REFUSER_THAT_WRITES = from("naive", function* ({ plan }) {
  for (const f of plan.functions) yield* write(f.jumpVa, branchTo("jmp", f.jumpVa, f.jumpVa + 5n));
  return outcome("refused", "has written all the same");
});

/** Writes where no patched function is. */
export const WRITER_ELSEWHERE = from("naive", function* ({ image }) {
  yield* writeWord(symbolVa(image, "__x64_sys_kill"), 0x90n, 1);
  return outcome("applied", "wrote somewhere");
});

/** Gathers everybody and forgets to let them go. */
export const GATHERER_THAT_KEEPS = from("naive", function* ({ image }) {
  yield* writeWord(symbolVa(image, "checkpoint_policy"), 0n, 4);
  yield* writeWord(symbolVa(image, "checkpoint_request"), 1n, 4);
  for (const va of allTasks) yield* call("checkpoint_notify", va);
  return outcome("refused", "kept them");
});
/** Set by the test: the addresses of the user tasks. */
export const allTasks: bigint[] = [];

/** Changes what the workload has counted. */
export const MEDDLER = from("naive", function* ({ image }) {
  yield* writeWord(symbolVa(image, "xfer_bytes_total"), 7n);
  return outcome("applied", "meddled");
});

/** Redirects through kpatch's handler into memory that holds no patch. */
export const REDIRECTION_TO_FREED_TEXT = from("kpatch", function* (r, own) {
  const freed = symbolVa(r.image, "module_room") + 0x8_0000n;
  const functions = r.plan.functions.map((f) => ({ ...f, newVa: freed }));
  return yield* own.enable({ ...r, plan: { ...r.plan, functions } });
});
