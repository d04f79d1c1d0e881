// A patch that is enabled and then attended to: the worker's rounds a virtual second apart while there is a transition, and
// between them whatever somebody asks for through sysfs, also the reversal of a transition that is under way.
import {
  CONSTANTS,
  look,
  readUint,
  reply,
  symbolVa,
  wait,
  type Program,
} from "../../kernel/index.ts";
import { loadModule } from "../module.ts";
import type { Job, Outcome, Request } from "../mechanism.ts";
import { klpEnablePatch, transitionWork } from "./core.ts";
import { klp, makePatch, systemOf } from "./klp.ts";
import { sysfsWrite } from "./sysfs.ts";
import type { KlpSystem } from "./system.ts";
import { current } from "./transition.ts";

/** A write to a file: `echo text > path`. */
export interface SysfsRequest {
  readonly path: string;
  readonly text: string;
}

/** What the program answers without having been asked: the patch is loaded, by an errno; a transition is over. */
export const REPLY_LOADED = -1;
export const REPLY_COMPLETE = -2;

function isRequest(value: unknown): value is SysfsRequest {
  return typeof value === "object" && value !== null && "path" in value && "text" in value;
}

function* jiffies(k: KlpSystem): Program<number> {
  return yield* look("word", (g) => ({
    value: Number(readUint(g.read, symbolVa(k.image, "jiffies"), 8)),
    cost: 0,
  }));
}

/** Enables the patch, then serves messages whose values are SysfsRequests for ever; answers each with 0 or an errno. */
function* attend(request: Request): Program<Outcome> {
  const k = systemOf(request);
  const failed = yield* loadModule(request.image, request.plan, true);
  const { error } =
    failed === 0 ? yield* klpEnablePatch(k, yield* makePatch(request)) : { error: failed };
  yield* reply(REPLY_LOADED, error);
  let due = (yield* jiffies(k)) + k.hz;
  for (;;) {
    const isMoving = (yield* current(k)).patch !== 0n;
    const left = due - (yield* jiffies(k));
    const message = yield* wait(isMoving ? Math.max(1, left) : undefined);
    if (message !== undefined) {
      const error = isRequest(message.value)
        ? yield* sysfsWrite(k, message.value.path, message.value.text)
        : -CONSTANTS.EINVAL;
      // A transition that this began has its next round a second from now; one that was under way keeps its time.
      if (!isMoving) due = (yield* jiffies(k)) + k.hz;
      yield* reply(message.id, error);
    } else if ((yield* jiffies(k)) >= due) {
      const tried = yield* transitionWork(k);
      if (tried?.remaining.length === 0) yield* reply(REPLY_COMPLETE, 0);
      due = (yield* jiffies(k)) + k.hz;
    }
  }
}

/** Loads a patch by klp and attends to it. */
export function attendJob(request: Request): Job {
  const make = (): Program<Outcome> => attend(request);
  return klp.stackCheck === undefined ? { make } : { make, stackCheck: klp.stackCheck(request) };
}
