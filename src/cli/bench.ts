// `quiesce bench`: measurements with their definitions. Exit 1 when a target that was measured is missed, or a program
// gave a wrong result.
import {
  BENCHES,
  BenchError,
  benchText,
  LATENCY_TASKS,
  makeWorld,
  missed,
  type Row,
} from "../bench/index.ts";
import { toJson as json } from "../report/index.ts";
import { COMMON, MAX_TASKS, MIN_TASKS, whole } from "./args.ts";
import type { Command } from "./command.ts";
import { command } from "./command.ts";
import { EXIT, unknown, UsageError } from "./errors.ts";
import { coreModule, TOP } from "./files.ts";
import { buildNamed } from "./scenarios.ts";
import type { Door } from "./output.ts";

const ROUNDS = 3;

const ARGS = {
  ...COMMON,
  what: {
    type: "positional",
    required: false,
    description: `one of ${Object.keys(BENCHES).join(", ")}; all without it`,
  },
  rounds: {
    type: "string",
    valueHint: "N",
    description: `samples of each figure (${ROUNDS}; latency: 1)`,
  },
  tasks: {
    type: "string",
    valueHint: "N,..",
    description: `numbers of task slots for latency (${LATENCY_TASKS.join(",")})`,
  },
  vcpus: { type: "string", valueHint: "N", description: "vCPUs for latency, 1 to 8 (2)" },
  quick: { type: "boolean", description: "programs of a sixteenth of the length" },
} as const;

export const benchCommand = (door: Door): Command =>
  command("bench", "Measurements with their definitions", ARGS, async ({ args }) => {
    const asked = whole("rounds", args.rounds, 1, 100);
    const names = Object.keys(BENCHES);
    if (args.what !== undefined && !Object.hasOwn(BENCHES, args.what)) {
      throw unknown("bench", args.what, names);
    }
    const tasks = args.tasks?.split(",").map((n) => whole("tasks", n, MIN_TASKS, MAX_TASKS) ?? 0);
    if (tasks !== undefined && args.what !== "latency") {
      throw new UsageError("bench: --tasks is for latency, expected `bench latency --tasks N,..`");
    }
    const vcpus = whole("vcpus", args.vcpus, 1, 8);
    if (vcpus !== undefined && args.what !== "latency") {
      throw new UsageError("bench: --vcpus is for latency, expected `bench latency --vcpus N`");
    }
    const chosen = Object.entries(BENCHES).filter(([n]) => [n, undefined].includes(args.what));
    let stopped = false;
    const world = makeWorld({
      top: TOP,
      core: coreModule(),
      scenario: (slots) => buildNamed("default", { tasks: slots, vcpus }),
      goOn: async (what) => {
        door.progress(what);
        stopped ||= await door.interrupted();
        return !stopped;
      },
    });
    const rows: Row[] = [];
    const own: string[] = [];
    const common: Row[] = [];
    try {
      for (const [, bench] of chosen) {
        const rounds = asked ?? bench.rounds ?? ROUNDS;
        const size = args.quick === true ? "quick" : "full";
        const measured = await bench.measure(world, { rounds, size, ...(tasks && { tasks }) });
        rows.push(...measured);
        if (bench.text === undefined) common.push(...measured);
        else own.push(bench.text(measured));
      }
    } catch (e) {
      if (!(e instanceof BenchError)) throw e;
      door.raw(2, new TextEncoder().encode(`error: ${e.message}\n`));
      return EXIT.violated;
    } finally {
      world.close();
    }
    if (common.length > 0) own.unshift(benchText(common));
    door.print(args.json === true ? json(rows) : own.join("\n"));
    if (missed(rows).length > 0) return EXIT.violated;
    return stopped ? EXIT.budget : EXIT.consistent;
  });
